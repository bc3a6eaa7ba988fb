"""GatherElements and ScatterElements along the axis of [outer, axis, inner]: elements, each by an index of its own.

    y[o, i, n] = x[o, indices[o, i, n], n]        and        y = x, but y[o, indices[o, i, n], n] = updates[o, i, n]

Negative indices count from the end; what is still outside the axis is clamped to it. A scatter's task is one o, for of
updates of one element the last one counts; its output may lie on x.
"""

from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS, SCATTER_OPERANDS = ("x", "indices", "y"), ("x", "indices", "updates", "y")
DIMS = ("axis", "count", "inner", "elements", "task_elements")
SCATTER_DIMS = ("axis", "count", "inner")
TASK_ELEMENTS = 8 << 10


def launch(outer: int, axis: int, count: int, inner: int, item: int, dtype: str) -> Launch:
    """The step for elements of ``item`` bytes and ``count`` indices of type i32 or i64 along the axis."""
    elements = outer * count * inner
    return Launch(
        GATHER, make_params(dtype=dtype, item=item), (axis, count, inner, elements, TASK_ELEMENTS),
        ceil_div(elements, TASK_ELEMENTS) if axis else 0,
        reads={"x": (0, outer * axis * inner * item), "indices": (0, elements * SIZES[dtype])},
        writes={"y": (0, elements * item)},
    )  # fmt: skip


def launch_scatter(outer: int, axis: int, count: int, inner: int, item: int, dtype: str) -> Launch:
    size, updates = outer * axis * inner * item, outer * count * inner
    return Launch(
        SCATTER, make_params(dtype=dtype, item=item), (axis, count, inner), outer if size else 0,
        reads={"x": (0, size), "indices": (0, updates * SIZES[dtype]), "updates": (0, updates * item)},
        writes={"y": (0, size)},
    )  # fmt: skip


def _index(dtype: str):
    """``index(address, axis)``: the index that stands there, inside the axis."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.elements import access

    load_index, _ = access(dtype)

    @register_jitable
    def index(address, axis):
        found = load_index(address)
        if found < 0:
            found += axis
        return min(max(found, 0), axis - 1)

    return index


def build(dtype: str, item: int):
    from cnncc.runtime.cpu.elements import access
    from cnncc.runtime.cpu.memory_access import load_words

    load_element, store_element = access(f"i{8 * item}")
    words, step, index = len(OPERANDS) + len(DIMS), SIZES[dtype], _index(dtype)

    def gather_elements(args, begin, end):
        x, indices, y, axis, count, inner, elements, task_elements = load_words(args, words)
        first = begin * task_elements
        at, left = first % inner, count * inner - first % (count * inner)
        source = x + first // (count * inner) * axis * inner * item
        for i in range(first, min(elements, end * task_elements)):
            place = index(indices + i * step, axis) * inner + at
            store_element(y + i * item, load_element(source + place * item))
            at, left = at + 1, left - 1
            if at == inner:
                at = 0
            if left == 0:
                left, source = count * inner, source + axis * inner * item

    return gather_elements


def build_scatter(dtype: str, item: int):
    from cnncc.runtime.cpu.elements import access
    from cnncc.runtime.cpu.memory_access import load_words

    load_element, store_element = access(f"i{8 * item}")
    words, step, index = len(SCATTER_OPERANDS) + len(SCATTER_DIMS), SIZES[dtype], _index(dtype)

    def scatter_elements(args, begin, end):
        x, indices, updates, y, axis, count, inner = load_words(args, words)
        for outer in range(begin, end):
            to, first = y + outer * axis * inner * item, outer * count * inner
            if x != y:
                source = x + outer * axis * inner * item
                for i in range(axis * inner):
                    store_element(to + i * item, load_element(source + i * item))
            for i in range(count):
                for n in range(inner):
                    here = first + i * inner + n
                    place = index(indices + here * step, axis) * inner + n
                    store_element(to + place * item, load_element(updates + here * item))

    return scatter_elements


GATHER = Kernel("gather_elements", OPERANDS, DIMS, build)
SCATTER = Kernel("scatter_elements", SCATTER_OPERANDS, SCATTER_DIMS, build_scatter)
