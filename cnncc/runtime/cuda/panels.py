"""How a block fetches a panel [tile, K] of a matrix, step by step, into rows [k, tile] of shared memory.

`lines` are contiguous across K, `runs` along it. A thread has one place in the first pass of a step, and in the next
ones places `rows` further along K (lines) or across it (runs).
"""

from __future__ import annotations

__all__ = ["build_panel"]


def build_panel(form: str, width: int, tile: int, depth: int, threads: int, pitch: int, sums):
    """Device functions of a panel:

    begin(t, base, first, extent, k, end, line, step): the thread's place, what is left of the matrix across and along K
    from there, and the place in shared memory; `fetch` gives the numbers of a step, `put` stores them as `sums`
    wants them kept.
    """
    from cnncc.runtime.cuda.integers import divide
    from cnncc.runtime.cuda.language import device, int32
    from cnncc.runtime.cuda.memory_access import load4_below, load_below, store, store4
    from cnncc.runtime.cuda.tile import unroll

    lines = form == "lines"
    across = tile // width if lines else depth // width  # accesses of one row
    rows = threads // across
    if rows * across != threads or not rows or (depth if lines else tile) % rows:
        raise ValueError(f"{threads} threads do not fetch [{tile}, {depth}] in {form} of {width}")
    count = (depth if lines else tile) // rows
    read, keep, keep_four = load4_below if width == 4 else load_below, sums.keep, sums.keep_four

    @device
    def begin_lines(t, base, first, extent, k, end, line, step):
        row, column = divide(t, int32(across))
        column = int32(column * width)
        left = (int32(extent - first - column), int32(end - k - row))
        return int32(base + (first + column) * line + (k + row) * step), left, int32(row * pitch + column)

    @device
    def begin_runs(t, base, first, extent, k, end, line, step):
        row, column = divide(t, int32(across))
        column = int32(column * width)
        left = (int32(extent - first - row), int32(end - k - column))
        return int32(base + (first + row) * line + (k + column) * step), left, int32(column * pitch + row)

    @device
    def fetch_lines(n, p, at, left, line, step):
        return read(p, at + n * rows * step, n * rows, left[1] if left[0] > 0 else int32(0))

    @device
    def fetch_runs(n, p, at, left, line, step):
        return read(p, at + n * rows * line, n * rows, left[0] if left[1] > 0 else int32(0))

    @device
    def put_line(n, s, at, v):
        store(s, at + n * rows * pitch, keep(v))

    @device
    def put_lines(n, s, at, v):
        store4(s, at + n * rows * pitch, keep_four(v))

    @device
    def put_run(n, s, at, v):
        store(s, at + n * rows, keep(v))

    @device
    def put_lane(i, s, at, v):
        store(s, at + i * pitch, keep(v))

    put_four = unroll(4, put_lane, each=("v",))

    @device
    def put_runs(n, s, at, v):
        put_four(s, at + n * rows, v)

    puts = {(True, 1): put_line, (True, 4): put_lines, (False, 1): put_run, (False, 4): put_runs}
    fetch = unroll(count, fetch_lines if lines else fetch_runs)
    return begin_lines if lines else begin_runs, fetch, unroll(count, puts[lines, width], each=("v",))
