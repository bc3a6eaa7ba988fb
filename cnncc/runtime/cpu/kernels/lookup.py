"""A function of bytes by table: y[i] = table[x[i]], all elements of a tensor in whichever layout."""

from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("x", "table", "y")
DIMS = ("count",)
TASK_BYTES = 16 << 10


def launch(count: int) -> Launch:
    """The step for ``count`` bytes; the table has 256, by the unsigned number of the byte."""
    return Launch(KERNEL, make_params(), (count,), ceil_div(count, TASK_BYTES),
                  reads={"x": (0, count), "table": (0, 256)}, writes={"y": (0, count)})  # fmt: skip


def build():
    from cnncc.runtime.cpu.memory_access import load_i64, load_u8, store_i8

    def lookup(args, begin, end):
        x, table, y, count = load_i64(args), load_i64(args + 8), load_i64(args + 16), load_i64(args + 24)
        for i in range(begin * TASK_BYTES, min(end * TASK_BYTES, count)):
            store_i8(y + i, load_u8(table + load_u8(x + i)))

    return lookup


KERNEL = Kernel("lookup", OPERANDS, DIMS, build)
