"""GridSample and AffineGrid: reading a tensor at given positions, and the positions of an affine map."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import Op, Operand, TensorType
from ..records import record
from .dtypes import ANY, FLOATS, check_dtype
from .sampling import FARTHEST, PADDINGS, SAMPLE_MODES, Reading, sample
from .sizes import agree, check_shape, known_sizes

__all__ = ["AffineGrid", "GridSample"]

Array = np.ndarray[Any, Any]


@record
class GridSample(Op):
    """ONNX GridSample-22: X [N, C, *spatial] read at grid [N, *out, r], r being the spatial axes: Y [N, C, *out].

    The last axis of the grid has the position along the last spatial axis first; -1 and 1 are the ends of an axis,
    at the centres of its outermost elements with align_corners, at their outer edges without. Integers are computed in
    floating point and truncated.
    """

    since = 22
    operands = ("X", "grid")

    align_corners: bool = False
    mode: str = "linear"
    padding_mode: str = "zeros"

    def check(self) -> None:
        for name, allowed in (("mode", SAMPLE_MODES), ("padding_mode", PADDINGS)):
            if getattr(self, name) not in allowed:
                raise OpError(f"GridSample: {name} must be one of {', '.join(allowed)}, not '{getattr(self, name)}'")

    @property
    def reading(self) -> Reading:
        return Reading(self.mode, self.padding_mode, self.align_corners)

    def infer(self, x: Operand, grid: Operand) -> tuple[TensorType, ...]:
        check_dtype("GridSample", "X", x, ANY)
        check_dtype("GridSample", "grid", grid, FLOATS)
        rank = x.type.rank - 2
        if rank < 1:
            raise OpError(f"GridSample: X must be [N, C, *spatial], not {x.type}")
        if grid.type.rank != rank + 2 or agree((grid.type.shape[-1], rank)) is None \
                or agree((grid.type.shape[0], x.type.shape[0])) is None:
            raise OpError(f"GridSample: grid must be [N, *out, {rank}] with one output axis for each spatial axis of X "
                          f"{x.type}, not {grid.type}")
        if 0 in x.type.shape[2:] and 0 not in grid.type.shape:
            raise OpError(f"GridSample: X {x.type} has no elements to read")
        return (TensorType(x.type.dtype, (*x.type.shape[:2], *grid.type.shape[1:-1])),)

    def reference(self, x: Array, grid: Array) -> tuple[Array, ...]:
        if 0 in grid.shape or 0 in x.shape:
            return (np.zeros((*x.shape[:2], *grid.shape[1:-1]), x.dtype),)
        wide = np.promote_types(grid.dtype, np.promote_types(x.dtype, np.float32) if x.dtype.kind == "f"
                                else np.float64 if self.mode != "nearest" else np.float32)
        ends = [(size - 1, 0) if self.align_corners else (size, -1) for size in x.shape[:1:-1]]
        grid = np.clip(grid, -FARTHEST, FARTHEST)  # so that nothing overflows; a NaN stays one
        at = [((grid[..., i].astype(wide) + 1) * reach + shift) / 2 for i, (reach, shift) in enumerate(ends)][::-1]
        return (sample(x, at, self.reading).astype(x.dtype),)


@record
class AffineGrid(Op):
    """ONNX AffineGrid-20: theta [N, r, r + 1] and size [N, C, *spatial] (r numbers) -> grid [N, *spatial, r].

    The grid has theta @ (x, y, ..., 1) for every element of a tensor of that size, where x, y, ... are its positions
    from -1 to 1, the last axis first: those of centres with align_corners, else of elements 2 / size wide. An axis of
    one element lies at 0.
    """

    since = 20
    operands = ("theta", "size")
    results = ("grid",)
    shaped_by = ("size",)

    align_corners: bool = False

    def infer(self, theta: Operand, size: Operand) -> tuple[TensorType, ...]:
        check_dtype("AffineGrid", "theta", theta, FLOATS)
        sizes = check_shape("AffineGrid", known_sizes("AffineGrid", "size", size))
        rank = len(sizes) - 2
        if rank not in (2, 3) or theta.type.rank != 3 or theta.type.shape[1:] != (rank, rank + 1) \
                or agree((theta.type.shape[0], sizes[0])) is None:
            raise OpError(f"AffineGrid: size must be [N, C, H, W] with theta [N, 2, 3], or [N, C, D, H, W] with "
                          f"[N, 3, 4], not {len(sizes)} numbers with {theta.type}")
        return (TensorType(theta.type.dtype, (theta.type.shape[0], *sizes[2:], rank)),)

    def reference(self, theta: Array, size: Array) -> tuple[Array, ...]:
        spatial = [int(n) for n in size[2:]]
        wide = np.promote_types(theta.dtype, np.float32)
        lines = [_centres(n, self.align_corners).astype(wide) for n in spatial]
        places = np.stack([*np.meshgrid(*lines, indexing="ij")[::-1], np.ones(spatial, wide)], -1)
        grid = np.einsum("nij,...j->n...i", theta.astype(wide), places)
        return (grid.astype(theta.dtype),)


def _centres(size: int, align_corners: bool) -> Array:
    """Where the elements of an axis lie between -1 and 1."""
    if align_corners:
        return np.arange(size) * (2 / (size - 1)) - 1 if size > 1 else np.zeros(size)
    return (2 * np.arange(size) + 1) / max(size, 1) - 1
