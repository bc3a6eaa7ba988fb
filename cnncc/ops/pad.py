"""Pad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, Op, Operand, TensorType
from ..records import record
from .sizes import known_ints, known_sizes, resolve_axes, shape_text, unknown_sizes

__all__ = ["PAD_MODES", "Pad"]

Array = np.ndarray[Any, Any]
PAD_MODES = ("constant", "reflect", "edge", "wrap")


@record
class Pad(Op):
    """ONNX Pad-19: pads[i] elements more before, and pads[i + n] behind, the i-th of the n axes in `axes` (by default
    all); a negative number takes elements away, which is done first.

    The new elements are constant_value (0 by default), the mirror image at the first and last element, these elements
    themselves (edge), or those of the other end (wrap).
    """

    since = 19
    operands = ("data", "pads", "constant_value?", "axes?")
    shaped_by = ("pads", "axes")

    mode: str = "constant"

    def check(self) -> None:
        if self.mode not in PAD_MODES:
            raise OpError(f"Pad: mode must be one of {', '.join(PAD_MODES)}, not '{self.mode}'")

    def widths(self, rank: int, pads: Sequence[DimLike],
               axes: Sequence[int] | None = None) -> list[tuple[Any, Any]]:
        """Elements added before and behind each axis. Raises OpError where `pads` does not fit the axes."""
        named = resolve_axes("Pad", range(rank) if axes is None else axes, rank)
        if len(pads) != 2 * len(named):
            raise OpError(f"Pad: pads {shape_text(pads)} must hold a begin for each of the {len(named)} axes, then an "
                          "end for each")
        out: list[tuple[Any, Any]] = [(0, 0)] * rank
        for axis, begin, end in zip(named, pads[:len(named)], pads[len(named):], strict=True):
            out[axis] = begin, end
        return out

    def infer(self, x: Operand, pads: Operand, value: Operand | None = None,
              axes: Operand | None = None) -> tuple[TensorType, ...]:
        if x.type.rank == 0:
            raise OpError(f"Pad: data must have an axis to pad along, but is {x.type}")
        if value is not None and (value.type.dtype != x.type.dtype or value.type.size != 1):
            raise OpError(f"Pad: constant_value must be one {x.type.dtype.value}, not {value.type}")
        if axes is not None and axes.value is None:
            return (TensorType(x.type.dtype, unknown_sizes("Pad", x.type.rank)),)
        widths = self.widths(x.type.rank, known_sizes("Pad", "pads", pads),
                             None if axes is None else known_ints("Pad", "axes", axes))
        return (TensorType(x.type.dtype, tuple(self._size(size, *w) for size, w in
                                               zip(x.type.shape, widths, strict=True))),)

    def _size(self, size: DimLike, begin: DimLike, end: DimLike) -> DimLike:
        if isinstance(size, int) and isinstance(begin, int) and isinstance(end, int):
            kept = size + min(begin, 0) + min(end, 0)
            if kept < 0:
                raise OpError(f"Pad: {begin} and {end} take more than the {size} elements away that an axis has")
            if kept == 0 and max(begin, end) > 0 and self.mode != "constant":
                raise OpError(f"Pad: an axis without elements has nothing to pad it with in mode {self.mode}")
            if self.mode == "reflect" and max(begin, end) >= kept and max(begin, end) > 0:
                raise OpError(f"Pad: reflecting {max(begin, end)} elements needs an axis of more than {kept}; "
                              "pad less or choose another mode")
        return size + begin + end

    def reference(self, x: Array, pads: Array, value: Array | None = None,
                  axes: Array | None = None) -> tuple[Array, ...]:
        widths = self.widths(x.ndim, pads.ravel().tolist(), None if axes is None else axes.ravel().tolist())
        x = x[tuple(slice(max(-b, 0), n - max(-e, 0)) for n, (b, e) in zip(x.shape, widths, strict=True))]
        added = [(max(b, 0), max(e, 0)) for b, e in widths]
        if self.mode == "constant":
            fill = x.dtype.type(0) if value is None else value.ravel()[0]
            return (np.pad(x, added, constant_values=fill),)
        return (np.pad(x, added, self.mode),)  # type: ignore[call-overload]  # mode is one of PAD_MODES
