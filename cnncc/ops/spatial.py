"""The arithmetic of sliding windows, shared by convolutions and pools: padding and output sizes, ints or symbolic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir.dims import DimLike

__all__ = ["AUTO_PADS", "check_windows", "output_size", "pad_spatial", "resolve_pads"]

Array = np.ndarray[Any, Any]
AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def check_windows(op_type: str, *, auto_pad: str, pads: Sequence[int], strides: Sequence[int],
                  dilations: Sequence[int], kernel: Sequence[int]) -> None:
    """Raises OpError where one of the attributes cannot be right; empty ones stand for their defaults."""
    if auto_pad not in AUTO_PADS:
        raise OpError(f"{op_type}: auto_pad must be one of {', '.join(AUTO_PADS)}, not '{auto_pad}'")
    for name, values, least in (("strides", strides, 1), ("dilations", dilations, 1), ("kernel_shape", kernel, 1),
                                ("pads", pads, 0)):
        if any(v < least for v in values):
            raise OpError(f"{op_type}: {name} must be at least {least}, not {list(values)}")
    if len(pads) % 2:
        raise OpError(f"{op_type}: pads must hold a begin and an end for each axis, not {list(pads)}")


def window_extent(kernel: int, dilation: int) -> int:
    """Input elements between the first and the last tap of a window, both included."""
    return (kernel - 1) * dilation + 1


def resolve_pads(sizes: Sequence[DimLike], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int],
                 pads: Sequence[int], auto_pad: str, op_type: str) -> tuple[tuple[DimLike, ...], tuple[DimLike, ...]]:
    """Padding before and after each spatial axis, with `auto_pad` carried out (ONNX Conv-22).

    Raises OpError for SAME_* on a symbolic axis whose stride is not 1, where padding is no polynomial of the size.
    """
    rank = len(kernel)
    if auto_pad == "VALID":
        return (0,) * rank, (0,) * rank
    if auto_pad == "NOTSET":
        pads = tuple(pads) or (0,) * (2 * rank)
        if len(pads) != 2 * rank:
            raise OpError(f"{op_type}: pads has {len(pads)} numbers, but {rank} spatial axes need {2 * rank}")
        return tuple(pads[:rank]), tuple(pads[rank:])
    begin: list[DimLike] = []
    end: list[DimLike] = []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        total: DimLike
        if isinstance(size, int):
            total = max((-(-size // s) - 1) * s + window_extent(k, d) - size, 0)
        elif s == 1:
            total = window_extent(k, d) - 1
        else:
            raise OpError(f"{op_type}: auto_pad={auto_pad} with stride {s} needs a fixed size, but the axis is {size}")
        small, large = total // 2, total - total // 2
        begin.append(small if auto_pad == "SAME_UPPER" else large)
        end.append(large if auto_pad == "SAME_UPPER" else small)
    return tuple(begin), tuple(end)


def output_size(op_type: str, sizes: Sequence[DimLike], kernel: Sequence[int], strides: Sequence[int],
                dilations: Sequence[int], begin: Sequence[DimLike], end: Sequence[DimLike], *,
                ceil_mode: bool = False) -> tuple[DimLike, ...]:
    """Windows along each axis. With `ceil_mode` a last window may hang over the end, but must start inside the input
    or its begin padding."""
    out: list[DimLike] = []
    for size, k, s, d, b, e in zip(sizes, kernel, strides, dilations, begin, end, strict=True):
        room = size + b + e - window_extent(k, d)
        if isinstance(room, int) and room < 0 and not (isinstance(size, int) and size == 0):
            raise OpError(f"{op_type}: a window of {window_extent(k, d)} does not fit the padded input of "
                          f"{size + b + e} (input {size}, pads {b} and {e})")
        count: DimLike
        if isinstance(room, int) and room < 0:
            count = 0
        elif ceil_mode:
            count = (room + (s - 1)) // s + 1
            if isinstance(count, int) and isinstance(size, int) and isinstance(b, int) and (count - 1) * s >= size + b:
                count -= 1
        else:
            count = room // s + 1
        out.append(count)
    return tuple(out)


def pad_spatial(x: Array, begin: Sequence[DimLike], end: Sequence[DimLike], value: float = 0.0) -> Array:
    """x [N, C, *spatial] with `value` around its spatial axes."""
    widths = [(0, 0), (0, 0), *((int(str(b)), int(str(e))) for b, e in zip(begin, end, strict=True))]
    return np.pad(x, widths, constant_values=value)
