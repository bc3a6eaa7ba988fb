"""Matrix products y = act(alpha * A B + beta * C + R), batched, by tiles as those of conv_direct.

A block computes a bm x bn tile of y in steps of bk along K, through two buffers of shared memory [bk, bm] and
[bk, bn]; a thread keeps 8x8 sums. An operand is read as it lies: in `lines`, along M or N, or in `runs`, along K, which
are turned on their way to shared memory (its rows are 4 words longer than tiles, so that no more than two lanes ask one
bank); in accesses of 128 bits where lengths and distances are multiples of 4 elements.

With ``split``, blocks share the steps of a tile and store plain sums to ``scratch``, [parts, *y]; the kernel `gemm_sum`
adds these up, in order, and finishes. Few rows of A and a B that lies along K are for `gemv`.
"""

from __future__ import annotations

import math

from cnncc.runtime.cpu.kernels.gemm import GemmShape
from cnncc.runtime.cuda.kernel import Kernel, Launch, Stage, Work, ceil_div, make_params
from cnncc.runtime.cuda.kernels.conv_direct import Tile
from cnncc.runtime.cuda.sums import PAD, blocks_of, threads_of

__all__ = ["DIMS", "KERNEL", "SUM", "GemmShape", "launch"]

DIMS = (
    "m", "n", "k", "a_line", "a_step", "b_line", "b_step", "c_row", "c_column", "batch_1", "batch_2",
    "a_0", "a_1", "a_2", "b_0", "b_1", "b_2", "c_0", "c_1", "c_2", "steps", "split_steps", "splits", "y_size",
)  # fmt: skip
FLOATS = ("alpha", "beta", "p", "q")
SUM_THREADS = 256


def walk(line: int, step: int, extent: int, k: int, batch: tuple[int, ...]) -> tuple[str, int] | None:
    """How an operand is read, form and width: its distances are ``line`` along M or N, of ``extent``, and ``step``
    along K. None where it is contiguous neither way."""
    if step == 1 or k == 1:
        wide = k % 4 == 0 and line % 4 == 0
        form = "runs"
    elif line == 1 or extent == 1:
        wide = extent % 4 == 0 and step % 4 == 0
        form = "lines"
    else:
        return None
    return form, 4 if wide and all(b % 4 == 0 for b in batch) else 1


def launch(shape: GemmShape, tile: Tile, residual: bool = False, alpha: float = 1.0, beta: float = 1.0,
           activation: str = "clip", p: float = -math.inf, q: float = math.inf) -> Launch:
    """The step of a matrix product; ``p`` and ``q`` belong to the activation."""
    a_walk = walk(shape.a[0], shape.a[1], shape.m, shape.k, shape.a_batch)
    b_walk = walk(shape.b[1], shape.b[0], shape.n, shape.k, shape.b_batch)
    if a_walk is None or b_walk is None:
        raise ValueError(f"{shape}: an operand is contiguous neither along K nor across it")
    batch, steps = math.prod(shape.batch), ceil_div(shape.k, tile.k)
    split_steps = max(1, ceil_div(steps, tile.parts))
    parts = max(1, ceil_div(steps, split_steps))
    y_size, split = batch * shape.m * shape.n, int(parts > 1)
    sizes, a_steps, b_steps, c_steps = three(shape)
    dims = (
        shape.m, shape.n, shape.k, *shape.a, shape.b[1], shape.b[0], *(shape.c or (0, 0)), *sizes[1:], *a_steps,
        *b_steps, *c_steps, steps, split_steps, parts, y_size,
    )  # fmt: skip
    reads = extents(shape, residual)
    if not y_size:
        return Launch(KERNEL.name, (), reads, {"y": (0, 0)})
    end = {"add": int(shape.c is not None and not split), "residual": int(residual and not split)}
    params = make_params(a_form=a_walk[0], a_width=a_walk[1], b_form=b_walk[0], b_width=b_walk[1], bm=tile.m, bn=tile.n,
                         bk=tile.k, tensor=int(tile.tensor), wide=int(shape.n % 4 == 0), split=split,
                         activation="clip" if split else activation, **end)
    grid = (ceil_div(shape.n, tile.n), ceil_div(shape.m, tile.m), batch * parts)
    flops = 2.0 * math.prod(grid) * tile.m * tile.n * split_steps * tile.k
    moved = sum(high - low for low, high in reads.values()) + 4.0 * y_size * parts
    stages = [Stage(KERNEL, params, dims, grid, (tile.threads, 1, 1), (alpha, beta, p, q), work=Work(flops, moved))]
    if split:
        params = make_params(add=int(shape.c is not None), residual=int(residual), activation=activation)
        stages.append(Stage(SUM, params, dims, (ceil_div(y_size, SUM_THREADS), 1, 1), (SUM_THREADS, 1, 1),
                            (alpha, beta, p, q), work=Work(y_size * parts, 4.0 * y_size * (parts + 1 + residual))))
    return Launch(KERNEL.name, tuple(stages), reads, {"y": (0, 4 * y_size)}, 4 * parts * y_size * split)


def three(shape: GemmShape) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Sizes of three batch dimensions, and the distances of A, B and C along them."""
    missing = 3 - len(shape.batch)
    if missing < 0:
        raise ValueError(f"more than 3 batch dimensions: {shape.batch}")
    steps = [(0,) * (3 - len(s)) + tuple(s) for s in (shape.a_batch, shape.b_batch, shape.c_batch)]
    return (1,) * missing + tuple(shape.batch), steps[0], steps[1], steps[2]


def extents(shape: GemmShape, residual: bool) -> dict[str, tuple[int, int]]:
    """The bytes that are read, by operand."""
    def reach(sizes, steps) -> tuple[int, int]:
        if 0 in sizes:
            return 0, 0
        return 0, 4 * (1 + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True)))

    out = {"a": reach((*shape.batch, shape.m, shape.k), (*shape.a_batch, *shape.a)),
           "b": reach((*shape.batch, shape.k, shape.n), (*shape.b_batch, *shape.b))}
    if shape.c is not None:
        c_batch = tuple(shape.c_batch) or (0,) * len(shape.batch)
        out["c"] = reach((*shape.batch, shape.m, shape.n), (*c_batch, *shape.c))
    if residual:
        out["r"] = (0, 4 * math.prod(shape.batch) * shape.m * shape.n)
    return out


def build(a_form: str, a_width: int, b_form: str, b_width: int, bm: int, bn: int, bk: int, tensor: int, wide: int,
          split: int, add: int, residual: int, activation: str):
    from cnncc.runtime.cuda.epilogue import build_activation
    from cnncc.runtime.cuda.integers import divide
    from cnncc.runtime.cuda.language import cuda, device, float32, int32
    from cnncc.runtime.cuda.memory_access import load, load4, store4
    from cnncc.runtime.cuda.panels import build_panel
    from cnncc.runtime.cuda.sums import Sums
    from cnncc.runtime.cuda.tile import unroll

    threads = threads_of(bm, bn, tensor)
    a_pitch, b_pitch = bm + PAD, bn + PAD
    a_words, buffer_words, half_m = bk * a_pitch, bk * (a_pitch + b_pitch), bm // 2
    shared_words = max(2 * buffer_words, half_m * b_pitch)
    out_width = 4 if wide else 1
    out_columns = bn // out_width
    out_rows = threads // out_columns

    activate = build_activation(activation)
    sums = Sums(bm, bn, bk, a_pitch, b_pitch, tensor)
    begin, new, multiply, store_upper, store_lower = (
        sums.begin, sums.new, sums.multiply, sums.store_upper, sums.store_lower)
    a_begin, a_fetch, a_put = build_panel(a_form, a_width, bm, bk, threads, a_pitch, sums)
    b_begin, b_fetch, b_put = build_panel(b_form, b_width, bn, bk, threads, b_pitch, sums)

    @device
    def finish_one(value, c, r, c_at, at, alpha, beta, p, q):
        value = value * alpha
        if add:
            value += beta * c[c_at]
        if residual:
            value += r[at]
        return activate(value, p, q)

    @device
    def finish_lane(n, v, c, r, c_at, c_column, at, alpha, beta, p, q):
        return finish_one(v, c, r, c_at + n * c_column, at + n, alpha, beta, p, q)

    finish_four = unroll(4, finish_lane, each=("v",))

    @device
    def finish_wide(s, i, c, r, y, scratch, c_at, c_column, at, part, alpha, beta, p, q):
        v = load4(s, i)
        if split:
            store4(scratch, part + at, v)
        else:
            store4(y, at, finish_four(v, c, r, c_at, c_column, at, alpha, beta, p, q))

    @device
    def finish_narrow(s, i, c, r, y, scratch, c_at, c_column, at, part, alpha, beta, p, q):
        if split:
            scratch[part + at] = load(s, i)
        else:
            y[at] = finish_one(load(s, i), c, r, c_at, at, alpha, beta, p, q)

    finish = finish_wide if wide else finish_narrow

    def gemm(a, b, c, r, y, scratch, m, n, k, a_line, a_step, b_line, b_step, c_row, c_column, batch_1, batch_2,
             a_0, a_1, a_2, b_0, b_1, b_2, c_0, c_1, c_2, steps, split_steps, splits, y_size, alpha, beta, p, q):
        s = cuda.shared.array(shared_words, float32, 16)
        t = int32(cuda.threadIdx.x)
        m0, n0 = int32(cuda.blockIdx.y * bm), int32(cuda.blockIdx.x * bn)
        item, part = divide(int32(cuda.blockIdx.z), splits)
        rest, i2 = divide(item, batch_2)
        i0, i1 = divide(rest, batch_1)
        first = int32(part * split_steps)
        last = int32(first + split_steps if first + split_steps < steps else steps)
        a_base, b_base = int32(i0 * a_0 + i1 * a_1 + i2 * a_2), int32(i0 * b_0 + i1 * b_1 + i2 * b_2)
        a_at, a_rest, a_to = a_begin(t, a_base, m0, m, int32(first * bk), k, a_line, a_step)
        b_at, b_rest, b_to = b_begin(t, b_base, n0, n, int32(first * bk), k, b_line, b_step)
        a_from, b_from, sums_at = begin(t)

        acc = new()
        left = a_fetch(a, a_at, a_rest, a_line, a_step)
        right = b_fetch(b, b_at, b_rest, b_line, b_step)
        a_put(s, a_to, left)
        b_put(s, int32(a_words + b_to), right)
        cuda.syncthreads()
        current, step = int32(0), first
        while step < last:
            step = int32(step + 1)
            more = step < last
            if more:
                a_at, b_at = int32(a_at + bk * a_step), int32(b_at + bk * b_step)
                a_rest, b_rest = (a_rest[0], int32(a_rest[1] - bk)), (b_rest[0], int32(b_rest[1] - bk))
                left = a_fetch(a, a_at, a_rest, a_line, a_step)
                right = b_fetch(b, b_at, b_rest, b_line, b_step)
            acc = multiply(acc, s, int32(current + a_from), s, int32(current + a_words + b_from))
            if more:
                current = int32(buffer_words - current)
                a_put(s, int32(current + a_to), left)
                b_put(s, int32(current + a_words + b_to), right)
                cuda.syncthreads()

        out_row, out_column = divide(t, int32(out_columns))
        column = int32(out_column * out_width)
        for half in range(2):
            cuda.syncthreads()
            if half == 0:
                store_upper(acc, s, sums_at)
            else:
                store_lower(acc, s, sums_at)
            cuda.syncthreads()
            if n0 + column < n:
                c_at = int32(i0 * c_0 + i1 * c_1 + i2 * c_2 + (n0 + column) * c_column)
                for i in range(out_row, half_m, out_rows):
                    row = int32(m0 + half * half_m + i)
                    if row < m:
                        finish(s, int32(i * b_pitch + column), c, r, y, scratch, int32(c_at + row * c_row), c_column,
                               int32((item * m + row) * n + n0 + column), int32(part * y_size), alpha, beta, p, q)

    return gemm


def build_sum(add: int, residual: int, activation: str):
    from cnncc.runtime.cuda.epilogue import build_activation
    from cnncc.runtime.cuda.integers import divide
    from cnncc.runtime.cuda.language import cuda, float32, int32

    activate, zero = build_activation(activation), float32(0)

    def gemm_sum(scratch, c, r, y, m, n, k, a_line, a_step, b_line, b_step, c_row, c_column, batch_1, batch_2,
                 a_0, a_1, a_2, b_0, b_1, b_2, c_0, c_1, c_2, steps, split_steps, splits, y_size, alpha, beta, p, q):
        at = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
        if at < y_size:
            value = zero
            for part in range(splits):
                value += scratch[part * y_size + at]
            value *= alpha
            if add:
                rest, column = divide(at, n)
                item, row = divide(rest, m)
                outer, i2 = divide(item, batch_2)
                i0, i1 = divide(outer, batch_1)
                value += beta * c[i0 * c_0 + i1 * c_1 + i2 * c_2 + row * c_row + column * c_column]
            if residual:
                value += r[at]
            y[at] = activate(value, p, q)

    return gemm_sum


KERNEL = Kernel("gemm", ("a", "b", "c", "r", "y", "scratch"), DIMS, build, FLOATS,
                threads=lambda bm, bn, tensor, **params: threads_of(bm, bn, tensor),
                blocks=lambda bm, bn, tensor, **params: blocks_of(bm, bn, tensor))
SUM = Kernel("gemm_sum", ("scratch", "c", "r", "y"), DIMS, build_sum, FLOATS)
