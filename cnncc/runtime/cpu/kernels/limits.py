"""What the machine can do at most: fused multiply-adds out of registers, and bytes read from memory."""

from cnncc.runtime.cpu.kernel import Kernel

FMA_ROWS, FMA_VECTORS, FMA_DEPTH = 6, 4, 64


def build_fma(lanes: int):
    """Each task goes ``rounds`` times over a register tile whose operands stay in the first-level cache."""
    from cnncc.runtime.cpu.memory_access import load_i64
    from cnncc.runtime.cpu.tile import tile_fma_even, tile_zero
    from cnncc.runtime.cpu.tile_memory import tile_store

    rows, vectors = (FMA_ROWS, FMA_VECTORS) if lanes != 8 else (FMA_ROWS, FMA_VECTORS // 2)
    width, depth = 4 * lanes, FMA_DEPTH

    def limit_fma(args, begin, end):
        x, y, rounds = load_i64(args), load_i64(args + 8), load_i64(args + 16)
        for task in range(begin, end):
            acc = tile_zero(rows, vectors, lanes)
            for _ in range(rounds):
                acc = tile_fma_even(acc, x, 4 * depth, 4, x, vectors * width, depth, 4)
            tile_store(acc, y + task * rows * vectors * width, vectors * width, width, rows, vectors)

    return limit_fma


def build_read(lanes: int):
    """Task t adds up ``vectors`` vectors of its part of x."""
    from cnncc.runtime.cpu.memory_access import load_i64
    from cnncc.runtime.cpu.simd import load, splat, store

    width = 4 * lanes

    def limit_read(args, begin, end):
        x, y, vectors = load_i64(args), load_i64(args + 8), load_i64(args + 16)
        for task in range(begin, end):
            a = b = c = d = splat(0.0, lanes)
            start = x + task * vectors * width
            for at in range(start, start + vectors * width, 4 * width):
                a = a + load(at, lanes)
                b = b + load(at + width, lanes)
                c = c + load(at + 2 * width, lanes)
                d = d + load(at + 3 * width, lanes)
            store(y + task * width, (a + b) + (c + d))

    return limit_read


FMA = Kernel("limit_fma", ("x", "y"), ("rounds",), build_fma)
READ = Kernel("limit_read", ("x", "y"), ("vectors",), build_read)
