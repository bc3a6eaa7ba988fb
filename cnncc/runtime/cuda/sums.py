"""The sums of a tile of a matrix product, in the registers of a block: by FMAs, or on tensor cores."""

from __future__ import annotations

__all__ = ["PAD", "Sums", "blocks_of", "threads_of"]

PAD = 4  # words between rows in shared memory


def threads_of(m: int, n: int, tensor: int) -> int:
    """Of a block for an m x n tile: 8x8 sums each; on tensor cores, a warp for 64 rows and half of the columns."""
    return m if tensor else m * n // 64


def blocks_of(m: int, n: int, tensor: int) -> int:
    """That a multiprocessor is to hold at least: two of 256 threads, which else take a little more than half of its
    registers each."""
    return 2 if threads_of(m, n, tensor) == 256 else 1


class Sums:
    """Device functions of a block whose rows of shared memory are `a_pitch` and `b_pitch` words long, `depth` of each
    being a step:

    begin(t): where thread t begins to read a and b, and to store its sums in rows of `b_pitch`;
    new(): sums of zero; multiply(acc, s, i, s, j): a step; keep(x), keep_four(v): what shared memory is to hold of x;
    store_upper(acc, s, i), store_lower(acc, s, i): one half of the rows to shared memory.
    """

    def __init__(self, m: int, n: int, depth: int, a_pitch: int, b_pitch: int, tensor: int) -> None:
        from cnncc.runtime.cuda.language import device
        from cnncc.runtime.cuda.tile import zeros

        (self._set_tensor_cores if tensor else self._set_fmas)(m, n, depth, a_pitch, b_pitch)
        self.new, keep = zeros(m * n // threads_of(m, n, tensor)), self.keep
        self.keep_four = device(lambda v: (keep(v[0]), keep(v[1]), keep(v[2]), keep(v[3])))

    def _set_fmas(self, m: int, n: int, depth: int, a_pitch: int, b_pitch: int) -> None:
        from cnncc.runtime.cuda.language import device, int32
        from cnncc.runtime.cuda.tile import lie_in_tile, store_rows, tile_fma

        lie = lie_in_tile(m, n)

        @device
        def begin(t):
            row, column = lie(t)
            return int32(4 * row), int32(4 * column), int32(4 * row * b_pitch + 4 * column)

        self.begin, self.keep = begin, device(lambda x: x)
        self.multiply = tile_fma(depth, 2, 2, a_pitch, b_pitch, m // 2, n // 2)
        self.store_upper, self.store_lower = (store_rows(half, 2, b_pitch, n // 2) for half in (0, 1))

    def _set_tensor_cores(self, m: int, n: int, depth: int, a_pitch: int, b_pitch: int) -> None:
        from cnncc.runtime.cuda.tensor_core import lie_in_warps, store_warp_rows, tile_mma, to_tf32

        if depth % 8 or n % 16 or m % 64 or a_pitch % 16 != PAD or b_pitch % 16 != PAD:
            raise ValueError(f"tensor cores take no {m}x{n} tile in steps of {depth} from rows of {a_pitch}, {b_pitch}")
        self.begin, self.keep = lie_in_warps(n // 2, a_pitch, b_pitch), to_tf32
        self.multiply = tile_mma(depth, n // 2, a_pitch, b_pitch, m // 2)
        self.store_upper, self.store_lower = (store_warp_rows(half, n // 2, b_pitch) for half in (0, 1))
