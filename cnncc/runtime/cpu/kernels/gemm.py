"""Matrix products on plain float32, with up to three broadcast batch dimensions.

    y[m, n] = act(alpha * sum over k of A[m, k] * B[k, n] + beta * C[m, n] + R[m, n])

``form`` says how B lies and how the sum is formed:

    rows   B[k, n] contiguous in n (with any distance between rows k): a broadcast of A[m, k] times vectors of B.
           B is used as it lies (few rows m), copied panel by panel into scratch memory (many), or packed beforehand.
    dots   B[k, n] contiguous in k, as fully connected weights [N, K] lie in a file, and A contiguous in k:
           vectors along k, summed at the end. With one row m this streams the weights at memory speed.

C (``add``) is 0 absent, 1 contiguous in n (row distance 0 for a bias), 2 one value per row m. R lies as y does.
"""

import math
from collections.abc import Sequence

import numpy as np

from cnncc.records import record
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params

OPERANDS = ("a", "b", "c", "r", "y", "scratch")
DIMS = (
    "m", "n", "k", "a_row", "a_column", "b_row", "b_panel", "b_masked", "c_row", "y_row", "panels", "chunks",
    "chunk_rows", "copy", "batch_0", "batch_1", "batch_2", "a_batch_0", "a_batch_1", "a_batch_2",
    "b_batch_0", "b_batch_1", "b_batch_2", "c_batch_0", "c_batch_1", "c_batch_2", "y_batch", "alpha", "beta", "p", "q",
)  # fmt: skip
# (rows of A, vectors of B) by lanes: what fits 32 registers (16 and 4 lanes) or 16 registers (8 lanes)
ROWS_TILES = {
    16: ((1, 1), (1, 6), (1, 8), (1, 12), (2, 8), (4, 6), (6, 4), (8, 3), (12, 2), (12, 1)),
    8: ((1, 1), (1, 6), (1, 8), (2, 6), (4, 3), (6, 2), (10, 1)),
    4: ((1, 1), (1, 6), (1, 8), (1, 12), (2, 8), (4, 6), (6, 4), (8, 3), (12, 2), (12, 1)),
}
# (rows of A, rows of B)
DOTS_TILES = {16: ((1, 8), (2, 6), (4, 4), (6, 4)), 8: ((1, 8), (2, 4), (4, 3)), 4: ((1, 8), (2, 6), (4, 4), (6, 4))}
COPY_ROWS = 24  # rows of A that pay for copying a panel of B


@record
class GemmShape:
    """Sizes, and distances in ELEMENTS: of A along (m, k), of B along (k, n), of C along (m, n), and per batch
    dimension (outermost first, at most 3; 0 where broadcast). y is contiguous [*batch, M, N]."""

    m: int
    n: int
    k: int
    a: tuple[int, int]
    b: tuple[int, int]
    c: tuple[int, int] | None = None
    batch: tuple[int, ...] = ()
    a_batch: tuple[int, ...] = ()
    b_batch: tuple[int, ...] = ()
    c_batch: tuple[int, ...] = ()


def choose_form(shape: GemmShape) -> str | None:
    """``rows``, ``dots`` or None: B must be contiguous along one of its dimensions."""
    if shape.b[1] == 1 or shape.n == 1:
        return "rows"
    return "dots" if (shape.b[0] == 1 or shape.k == 1) and (shape.a[1] == 1 or shape.k == 1) else None


def choose_tile(form: str, m: int, n: int, lanes: int, vectors: int | None = None) -> tuple[int, int]:
    """(rows of A, vectors or rows of B) with the least padded work, loads counted beside multiplications.

    ``vectors`` are given where B is packed.
    """
    each = lanes if form == "rows" else 1

    def cost(tile: tuple[int, int]) -> float:
        rows, width = tile
        padded = ceil_div(max(m, 1), rows) * rows * ceil_div(max(n, 1), width * each) * width
        return padded * (1 + 0.5 * (1 / rows + 1 / width))

    tiles = (ROWS_TILES if form == "rows" else DOTS_TILES)[lanes]
    return min((t for t in tiles if vectors in (None, t[1])), key=cost)


def launch(
    shape: GemmShape, lanes: int, form: str | None = None, tile: tuple[int, int] | None = None, packed: bool = False,
    activation: str = "clip", p: float = -math.inf, q: float = math.inf, alpha: float = 1.0, beta: float = 1.0,
    residual: bool = False,
) -> Launch:  # fmt: skip
    """The step of a matrix product; ``p`` and ``q`` belong to the activation. ``packed``: b is from pack_weights."""
    form = form or choose_form(shape)
    if form is None:
        raise ValueError(f"{shape}: B is contiguous neither along n nor along k with A")
    rows, vectors = tile or choose_tile(form, shape.m, shape.n, lanes)
    columns = vectors * (lanes if form == "rows" else 1)
    panels = ceil_div(shape.n, columns)
    copy = form == "rows" and not packed and shape.m >= COPY_ROWS and (shape.b[0] != columns)
    batch = math.prod(shape.batch)
    chunk_rows = _chunk_rows(shape, rows, panels * batch, columns)
    chunks = ceil_div(shape.m, chunk_rows)
    b_row, b_panel = _b_steps(shape, form, columns, packed)
    add = 0 if shape.c is None else 1 if shape.c[1] == 1 or shape.n == 1 else 2
    if shape.c is not None and add == 2 and shape.c[1] != 0:
        raise ValueError(f"{shape}: C is neither contiguous nor constant along n")
    dims = (
        shape.m, shape.n, shape.k, 4 * shape.a[0], 4 * shape.a[1], b_row, b_panel, int(form == "rows" and not packed),
        4 * shape.c[0] if shape.c else 0, 4 * shape.n, panels, chunks, chunk_rows, int(copy), *_three(shape.batch, 1),
        *(4 * s for steps in (shape.a_batch, shape.b_batch, shape.c_batch) for s in _three(steps, 0)),
        4 * shape.m * shape.n, *(float_word(value) for value in (alpha, beta, p, q)),
    )  # fmt: skip
    params = make_params(
        lanes=lanes, rows=rows, vectors=vectors, form=form, activation=activation, add=add,
        residual=int(residual), contiguous=int(shape.a[1] == 1 or shape.k == 1),
    )  # fmt: skip
    scratch = shape.k * columns * 4 if copy else 0
    y_bytes = 4 * batch * shape.m * shape.n
    reads = _reads(shape, panels * shape.k * columns if packed else None)
    if residual:
        reads["r"] = (0, y_bytes)
    tasks = batch * panels * chunks if shape.m and shape.n else 0
    return Launch(
        KERNEL, params, dims, tasks, scratch=ceil_div(scratch, 64) * 64, reads=reads, writes={"y": (0, y_bytes)},
    )  # fmt: skip


def _chunk_rows(shape: GemmShape, rows: int, panels: int, columns: int) -> int:
    """Rows of A per task: about 8 MFLOP, at least four tiles; all of them where panels alone make enough tasks."""
    wanted = max(4 * rows, COPY_ROWS, round(8e6 / max(1, 2 * shape.k * columns)))
    if panels >= 32:
        wanted = max(wanted, 256)
    return ceil_div(min(max(shape.m, 1), wanted), rows) * rows


def _b_steps(shape: GemmShape, form: str, columns: int, packed: bool) -> tuple[int, int]:
    """Bytes between rows k (rows form) or rows n (dots form) of B, and between panels of columns."""
    if packed:
        return 4 * columns, 4 * columns * shape.k
    if form == "rows":
        return 4 * shape.b[0], 4 * columns
    return 4 * shape.b[1], 4 * shape.b[1] * columns


def _three(values: Sequence[int], fill: int) -> tuple[int, ...]:
    if len(values) > 3:
        raise ValueError(f"more than 3 batch dimensions: {values}")
    return (fill,) * (3 - len(values)) + tuple(values)


def _reads(shape: GemmShape, packed_elements: int | None) -> dict[str, tuple[int, int]]:
    """Byte ranges; every distance counts from its operand's address (none may be negative)."""

    def reach(sizes, steps) -> tuple[int, int]:
        if any(size == 0 for size in sizes):
            return 0, 0
        return 0, 4 * (1 + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True)))

    batch = shape.batch
    out = {
        "a": reach((*batch, shape.m, shape.k), (*shape.a_batch, *shape.a)),
        "b": reach((*batch, shape.k, shape.n), (*shape.b_batch, *shape.b)),
    }
    if packed_elements is not None:
        out["b"] = (0, 4 * packed_elements)
    if shape.c is not None:
        out["c"] = reach((*batch, shape.m, shape.n), (*shape.c_batch, *shape.c))
    return out


def pack_weights(b: np.ndarray, lanes: int, vectors: int) -> np.ndarray:
    """B [K, N] as [panels, K, vectors * lanes] float32, flattened; surplus columns zero."""
    k, n = b.shape
    columns = vectors * lanes
    panels = ceil_div(n, columns)
    padded = np.zeros((k, panels * columns), np.float32)
    padded[:, :n] = b
    return np.ascontiguousarray(padded.reshape(k, panels, columns).transpose(1, 0, 2)).reshape(-1)


def build(lanes: int, rows: int, vectors: int, form: str, activation: str, add: int, contiguous: int,
          residual: int):
    """``contiguous``: A[m, k] lies contiguous in k."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.epilogue import build_activation
    from cnncc.runtime.cpu.memory_access import load_f32, load_i64, stack, store_i64, word_float
    from cnncc.runtime.cpu.simd import fma, load, load_first, splat, store, store_first
    from cnncc.runtime.cpu.tile import tile_fma, tile_fma_masked, tile_zero
    from cnncc.runtime.cpu.tile_dot import tile_dot, tile_sums
    from cnncc.runtime.cpu.tile_memory import tile_store

    activate = build_activation(activation)
    dots = form == "dots"
    width = 4 * lanes
    columns = vectors if dots else vectors * lanes
    pitch = 4 * (-(-columns // lanes) * lanes)  # bytes of a row of finished sums
    tile_bytes, a_bytes, b_bytes, panel_row = rows * pitch, 8 * rows, 8 * vectors, 4 * columns
    word = {name: 8 * (len(OPERANDS) + i) for i, name in enumerate(DIMS)}
    M, N, K, A_ROW, A_COLUMN = word["m"], word["n"], word["k"], word["a_row"], word["a_column"]
    B_ROW, B_PANEL, B_MASKED = word["b_row"], word["b_panel"], word["b_masked"]
    C_ROW, Y_ROW, Y_BATCH, COPY = word["c_row"], word["y_row"], word["y_batch"], word["copy"]
    PANELS, CHUNKS, CHUNK_ROWS, BATCH = word["panels"], word["chunks"], word["chunk_rows"], word["batch_0"]
    STEPS, ALPHA, BETA, P, Q = word["a_batch_0"], word["alpha"], word["beta"], word["p"], word["q"]

    @register_jitable
    def batch_offset(args, item, operand):
        """Byte offset of batch ``item`` in operand 0 (A), 1 (B) or 2 (C)."""
        steps = args + STEPS + 24 * operand
        second, third = load_i64(args + BATCH + 8), load_i64(args + BATCH + 16)
        outer = item // third
        offset = item % third * load_i64(steps + 16) + outer % second * load_i64(steps + 8)
        return offset + outer // second * load_i64(steps)

    @register_jitable
    def copy_panel(b, b_row, k, valid, scratch):
        """A panel of B as [k, columns] with zeros beyond the valid columns."""
        for i in range(k):
            for v in range(vectors):
                value = load_first(b + i * b_row + v * width, valid - v * lanes, lanes)
                store(scratch + i * panel_row + v * width, value)

    @register_jitable
    def finish(args, sums, y, c, m, valid):
        """From sums (in memory) to the ``m`` x ``valid`` corner of y."""
        alpha, beta = word_float(load_i64(args + ALPHA)), word_float(load_i64(args + BETA))
        p, q = word_float(load_i64(args + P)), word_float(load_i64(args + Q))
        c_row, y_row = load_i64(args + C_ROW), load_i64(args + Y_ROW)
        shift = load_i64(args + 24) - load_i64(args + 32)
        for r in range(m):
            for at in range(0, valid, lanes):
                value = load(sums + r * pitch + at * 4, lanes) * alpha
                if add == 1:
                    value = fma(load_first(c + r * c_row + at * 4, valid - at, lanes), beta, value)
                elif add == 2:
                    value = fma(splat(load_f32(c + r * c_row), lanes), beta, value)
                place = y + r * y_row + at * 4
                if residual:
                    value = value + load_first(place + shift, valid - at, lanes)
                store_first(place, activate(value, p, q), valid - at)

    @register_jitable
    def multiply(args, a_at, b_at, b, b_row, k, valid, masked, sums):
        """One tile of sums."""
        acc = tile_zero(rows, vectors, lanes)
        if dots:
            tile_sums(tile_dot(acc, a_at, b_at, k, vectors * b_row), sums, pitch)
        else:
            step = load_i64(args + A_COLUMN)
            if masked:
                acc = tile_fma_masked(acc, a_at, step, b, b_row, k, valid)
            elif contiguous:
                acc = tile_fma(acc, a_at, 4, b, b_row, k, 4)
            else:
                acc = tile_fma(acc, a_at, step, b, b_row, k, 1)
            tile_store(acc, sums, pitch, width, rows, vectors)

    def gemm(args, begin, end):
        a_at, b_at, sums = stack(a_bytes), stack(b_bytes), stack(tile_bytes)
        k, n, a_row = load_i64(args + K), load_i64(args + N), load_i64(args + A_ROW)
        chunks, panels, chunk_rows = load_i64(args + CHUNKS), load_i64(args + PANELS), load_i64(args + CHUNK_ROWS)
        scratch, copied = load_i64(args + 40), -1
        for task in range(begin, end):
            panel, item = task // chunks % panels, task // chunks // panels
            first = task % chunks * chunk_rows
            last = min(first + chunk_rows, load_i64(args + M))
            a = load_i64(args) + batch_offset(args, item, 0)
            b = load_i64(args + 8) + batch_offset(args, item, 1) + panel * load_i64(args + B_PANEL)
            c = load_i64(args + 16) + batch_offset(args, item, 2) + (panel * panel_row if add == 1 else 0)
            y = load_i64(args + 32) + item * load_i64(args + Y_BATCH) + panel * panel_row
            b_row, valid = load_i64(args + B_ROW), min(columns, n - panel * columns)
            masked = load_i64(args + B_MASKED) != 0 and valid < columns
            if not dots and load_i64(args + COPY) != 0:
                if copied != task // chunks:
                    copy_panel(b, b_row, k, valid, scratch)
                    copied = task // chunks
                b, b_row, masked = scratch, panel_row, False
            if dots:
                for v in range(vectors):
                    store_i64(b_at + 8 * v, b + min(v, valid - 1) * b_row)
            for m in range(first, last, rows):
                for r in range(rows):
                    store_i64(a_at + 8 * r, a + min(m + r, last - 1) * a_row)
                multiply(args, a_at, b_at, b, b_row, k, valid, masked, sums)
                y_at, c_at = y + m * load_i64(args + Y_ROW), c + m * load_i64(args + C_ROW)
                finish(args, sums, y_at, c_at, min(rows, last - m), valid)

    return gemm


KERNEL = Kernel("gemm", OPERANDS, DIMS, build)
