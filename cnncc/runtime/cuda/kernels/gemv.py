"""Matrix products of few rows y = act(alpha * A B + beta * C + R), at the speed of memory: B lies along K, as fully
connected weights [N, K] do.

A warp has one column of y: its lanes read that column of B in accesses of 128 bits, neighbours side by side and several
at once, multiply by ``rows`` rows of A, which stay in the cache, and add up by shuffles. Where K is no multiple of 4,
accesses are of 32 bits.
"""

from __future__ import annotations

import math

from cnncc.runtime.cuda.kernel import Kernel, Launch, Work, ceil_div, make_params, simple
from cnncc.runtime.cuda.kernels.gemm import GemmShape, extents, three, walk

__all__ = ["KERNEL", "MAX_ROWS", "launch", "suits"]

DIMS = ("m", "n", "k", "a_line", "b_line", "c_row", "c_column", "batch_1", "batch_2", "a_0", "a_1", "a_2",
        "b_0", "b_1", "b_2", "c_0", "c_1", "c_2")
ROWS = (1, 2, 4, 8)
MAX_ROWS = ROWS[-1]
WARPS = 4   # of a block
AHEAD = 4   # accesses that a lane has on their way at once


def suits(shape: GemmShape) -> bool:
    """Few rows, and both operands contiguous along K."""
    return shape.m <= MAX_ROWS and (shape.k == 1 or (shape.a[1] == 1 and shape.b[0] == 1))


def launch(shape: GemmShape, residual: bool = False, alpha: float = 1.0, beta: float = 1.0, activation: str = "clip",
           p: float = -math.inf, q: float = math.inf, warps: int = WARPS) -> Launch:
    """The step of a matrix product that `suits`; ``p`` and ``q`` belong to the activation."""
    a_walk = walk(shape.a[0], 1, shape.m, shape.k, shape.a_batch)
    b_walk = walk(shape.b[1], 1, shape.n, shape.k, shape.b_batch)
    assert suits(shape) and a_walk is not None and b_walk is not None
    sizes, a_steps, b_steps, c_steps = three(shape)
    batch, reads = math.prod(shape.batch), extents(shape, residual)
    params = make_params(rows=min(r for r in ROWS if r >= shape.m), width=min(a_walk[1], b_walk[1]), warps=warps,
                         add=int(shape.c is not None), residual=int(residual), activation=activation)
    dims = (shape.m, shape.n, shape.k, shape.a[0], shape.b[1], *(shape.c or (0, 0)), *sizes[1:], *a_steps, *b_steps,
            *c_steps)
    y_bytes = 4 * batch * shape.m * shape.n
    if not y_bytes:
        return Launch(KERNEL.name, (), reads, {"y": (0, 0)})
    moved = sum(high - low for low, high in reads.values()) + y_bytes
    return simple(KERNEL, params, dims, (ceil_div(shape.n, warps), batch, 1), (32 * warps, 1, 1),
                  floats=(alpha, beta, p, q), work=Work(2.0 * batch * shape.m * shape.n * shape.k, moved), reads=reads,
                  writes={"y": (0, y_bytes)})


def build(rows: int, width: int, warps: int, add: int, residual: int, activation: str):
    from cnncc.runtime.cuda.epilogue import build_activation
    from cnncc.runtime.cuda.integers import divide
    from cnncc.runtime.cuda.language import cuda, device, int32
    from cnncc.runtime.cuda.memory_access import load4_below, load_below
    from cnncc.runtime.cuda.tile import fold, unroll, zeros

    lane_step, ahead = 32 * width, AHEAD
    activate, nothing = build_activation(activation), zeros(rows)

    if width == 4:
        read = load4_below

        @device
        def product(total, x, w):
            return total + x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + x[3] * w[3]
    else:
        read = load_below

        @device
        def product(total, x, w):
            return total + x * w

    fetch = unroll(ahead, device(lambda n, p, at, left: read(p, at + n * lane_step, n * lane_step, left)))

    add_products = fold(ahead, device(lambda n, total, x, w: product(total, x, w)), each=("x", "w"))
    add_lanes = fold(5, device(lambda n, total: total + cuda.shfl_xor_sync(0xFFFFFFFF, total, 16 >> n)))

    @device
    def multiply_row(r, sums, a, at, line, m, left, w):
        return add_products(sums, fetch(a, int32(at + r * line), left if r < m else int32(0)), w)

    @device
    def store_row(i, sums, m, c, r, y, c_at, c_row, at, n, alpha, beta, p, q):
        if i < m:
            value = sums * alpha
            if add:
                value += beta * c[c_at + i * c_row]
            if residual:
                value += r[at + i * n]
            y[at + i * n] = activate(value, p, q)
        return 0

    multiply, finish = unroll(rows, multiply_row, each=("sums",)), unroll(rows, store_row, each=("sums",))
    reduce = unroll(rows, device(lambda r, sums: add_lanes(sums)), each=("sums",))

    def gemv(a, b, c, r, y, m, n, k, a_line, b_line, c_row, c_column, batch_1, batch_2, a_0, a_1, a_2, b_0, b_1, b_2,
             c_0, c_1, c_2, alpha, beta, p, q):
        t = int32(cuda.threadIdx.x)
        column = int32(cuda.blockIdx.x * warps + (t >> 5))
        lane = int32((t & 31) * width)
        item = int32(cuda.blockIdx.y)
        rest, i2 = divide(item, batch_2)
        i0, i1 = divide(rest, batch_1)
        a_at = int32(i0 * a_0 + i1 * a_1 + i2 * a_2 + lane)
        b_at = int32(i0 * b_0 + i1 * b_1 + i2 * b_2 + column * b_line + lane)
        left = int32(k - lane) if column < n else int32(0)
        sums = nothing()
        for _ in range(0, k, ahead * lane_step):
            w = fetch(b, b_at, left)
            sums = multiply(sums, a, a_at, a_line, m, left, w)
            a_at, b_at = int32(a_at + ahead * lane_step), int32(b_at + ahead * lane_step)
            left = int32(left - ahead * lane_step)
        sums = reduce(sums)
        if lane == 0 and column < n:
            finish(sums, m, c, r, y, int32(i0 * c_0 + i1 * c_1 + i2 * c_2 + column * c_column), c_row,
                   int32(item * m * n + column), n, alpha, beta, p, q)

    return gemv


KERNEL = Kernel("gemv", ("a", "b", "c", "r", "y"), DIMS, build, ("alpha", "beta", "p", "q"),
                threads=lambda warps, **params: 32 * warps)
