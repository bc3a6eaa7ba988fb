"""The arithmetic of sliding windows, shared by convolutions and pools: padding and output sizes, ints or symbolic."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir.dims import DimLike
from ..records import record

__all__ = ["AUTO_PADS", "Windows", "check_windows", "output_size", "place_windows", "resolve_pads", "taps",
           "window_extent"]

Array = np.ndarray[Any, Any]
AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


@record
class Windows:
    """The geometry of a sliding window, one number an axis: output position o and tap t read the input at
    o * stride + t * dilation - begin. `output` may be symbolic."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]
    output: tuple[DimLike, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """`output`, which must be fixed."""
        counts = tuple(o for o in self.output if isinstance(o, int))
        if len(counts) != len(self.output):
            raise OpError(f"the output size {list(self.output)} is not known yet")
        return counts


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


def place_windows(op_type: str, sizes: Sequence[DimLike], kernel: Sequence[int], *, strides: Sequence[int],
                  dilations: Sequence[int], pads: Sequence[int], auto_pad: str, ceil_mode: bool = False) -> Windows:
    """The geometry of windows over spatial axes of these sizes, empty attributes standing for their defaults.

    Raises OpError where the attributes do not fit the axes or each other.
    """
    rank = len(sizes)
    strides, dilations = tuple(strides) or (1,) * rank, tuple(dilations) or (1,) * rank
    for name, values in (("kernel_shape", kernel), ("strides", strides), ("dilations", dilations)):
        if len(values) != rank:
            raise OpError(f"{op_type}: {name} {list(values)} must have one number for each of the {rank} spatial axes")
    begin, end = resolve_pads(sizes, kernel, strides, dilations, pads, auto_pad, op_type)
    return Windows(tuple(kernel), strides, dilations, begin, end,
                   output_size(op_type, sizes, kernel, strides, dilations, begin, end, ceil_mode=ceil_mode))


def resolve_pads(sizes: Sequence[DimLike], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int],
                 pads: Sequence[int], auto_pad: str, op_type: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
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
    begin: list[int] = []
    end: list[int] = []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        if isinstance(size, int):
            total = max((-(-size // s) - 1) * s + window_extent(k, d) - size, 0)
        elif s == 1:
            total = window_extent(k, d) - 1
        else:
            raise OpError(f"{op_type}: auto_pad={auto_pad} with stride {s} needs a fixed size, but the axis is {size}: "
                          "give the input a fixed size")
        small, large = total // 2, total - total // 2
        begin.append(small if auto_pad == "SAME_UPPER" else large)
        end.append(large if auto_pad == "SAME_UPPER" else small)
    return tuple(begin), tuple(end)


def output_size(op_type: str, sizes: Sequence[DimLike], kernel: Sequence[int], strides: Sequence[int],
                dilations: Sequence[int], begin: Sequence[int], end: Sequence[int], *,
                ceil_mode: bool = False) -> tuple[DimLike, ...]:
    """Windows along each axis.

    With `ceil_mode` a last window may hang over the end, but must start inside the input or its begin padding: of the
    ceil((size + begin + end - extent) / stride) + 1 windows those that start before size + begin, of which there
    are ceil((size + begin) / stride), are kept. Both are floors of a sum over the stride, so the smaller sum decides.
    """
    out: list[DimLike] = []
    for size, k, s, d, b, e in zip(sizes, kernel, strides, dilations, begin, end, strict=True):
        extent = window_extent(k, d)
        if ceil_mode:
            count = (size + (b + s - 1 + min(e + s - extent, 0))) // s
        else:
            count = (size + (b + e - extent)) // s + 1
        if isinstance(count, int) and count < 1:
            if size != 0:
                raise OpError(f"{op_type}: a window of {extent} does not fit the padded input of {size + (b + e)} "
                              f"(input {size}, pads {b} and {e})")
            count = 0
        out.append(count)
    return tuple(out)


def taps(x: Array, g: Windows, fill: Any = 0) -> Iterator[tuple[tuple[int, ...], Array]]:
    """For each tap of the window, in C order: its position, and what it reads at every output position.

    x [..., *spatial] reads as `fill` outside; what is yielded is [..., *g.counts].
    """
    rank = len(g.kernel)
    widths = [(0, 0)] * (x.ndim - rank)
    for size, k, s, d, b, e, o in zip(x.shape[x.ndim - rank:], g.kernel, g.strides, g.dilations, g.begin, g.end,
                                      g.counts, strict=True):
        widths.append((b, max(e, (o - 1) * s + window_extent(k, d) - size - b)))
    x = np.pad(x, widths, constant_values=fill)
    for tap in itertools.product(*map(range, g.kernel)):
        read: Any = [slice(t * d, t * d + o * s, s)
                     for t, d, s, o in zip(tap, g.dilations, g.strides, g.counts, strict=True)]
        yield tap, x[(..., *read)]
