"""The bounds of docs/numerics.md on the error of each kind of kernel, element by element, u being 2^-24."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cnncc.ir import Op
from cnncc.ops.conv import Conv
from cnncc.runtime.cpu import native
from cnncc.runtime.cpu.kernels import conv_strassen
from cnncc.runtime.cpu.lower.accuracy import strassen_bound, sum_bound, winograd_bounds
from cnncc.runtime.cpu.lower.conv import conv_shape
from cnncc.runtime.cpu.lowering import Choice
from cnncc.runtime.cpu.winograd_tiles import input_length, output_tile

Array = np.ndarray[Any, Any]

UNIT = 2.0**-24
SMALLEST = 2.0**-149  # what a product that underflows may lose
AMPLIFIED = 4489  # times, in the last step of F(6,3): the square of the largest sum of a row of its A^T


def exact(op: Op, arrays: Sequence[Array | None]) -> Array:
    """The result in double precision."""
    return op.reference(*(None if a is None else a.astype(np.float64) for a in arrays))[0]


def error_bound(op: Op, arrays: Sequence[Array | None], choice: Choice | None, wanted: Array) -> Array | float:
    """How far an element may be from the exact one, `wanted`."""
    if "Max" in op.op_type:
        return 0.0
    linear = _linear(op)
    sizes = [None if a is None else np.abs(a) for a in arrays]
    if choice is not None and choice.kernel.startswith("conv_winograd"):
        m = int(choice.params["m"])
        bound = _transformed(sizes, winograd_bounds(m, arrays[1]), largest_of_tiles(arrays[0], op, arrays[1].shape, m))
    elif choice is not None and choice.kernel == "conv_strassen":
        bound = _transformed(sizes, strassen_bound(_terms(op, sizes)), largest_of_pairs(arrays[0], op, arrays[1].shape))
    else:
        bound = sum_bound(_terms(op, sizes)) * UNIT * exact(linear, sizes)
        bound = bound + SMALLEST * _terms(op, sizes)
    activation = getattr(op, "activation", None)
    if activation is None or activation.kind in ("relu", "clip"):
        return bound
    return 1.5 * bound + 8 * UNIT * np.abs(wanted)  # the steepest slope of hard_swish, and its own roundings


def _linear(op: Op) -> Op:
    """The operator without activation, its factors positive."""
    positive: dict[str, Any] = {name: abs(getattr(op, name)) for name in ("alpha", "beta") if hasattr(op, name)}
    positive.update((name, None) for name in ("activation", "inner") if hasattr(op, name))
    return dataclasses.replace(op, **positive)


def _terms(op: Op, sizes: Sequence[Array | None]) -> int:
    """How many products, or numbers, an output element is the sum of, at most."""
    x, w = (*sizes, None)[:2]
    assert x is not None
    if op.op_type == "PointwiseDepthwiseConv":  # relative to sums of sums: both sums' errors, one after the other
        assert w is not None and sizes[2] is not None
        return w[0].size + sizes[2][0].size
    if op.op_type in ("Conv", "ConvTranspose"):
        assert w is not None
        return w[0].size if op.op_type == "Conv" else w.size // w.shape[1]
    if op.op_type in ("Gemm", "MatMul"):
        return x.shape[0 if getattr(op, "transA", False) else -1]
    return math.prod(getattr(op, "kernel_shape", x.shape[2:]))


def _transformed(sizes: Sequence[Array | None], bounds: Array | float, largest: Array) -> Array:
    """From the bound of each output channel, or of all, and the largest |x| of what each pixel is made from."""
    x, w, b, r = (*sizes, None, None)[:4]
    assert x is not None and w is not None
    rest = (1, -1, *(1,) * (x.ndim - 2))
    weights = (bounds * w.astype(np.float64).reshape(len(w), -1).sum(1)).reshape(rest)
    largest = np.maximum(largest, SMALLEST / UNIT / 2)
    bound = UNIT * largest * weights + SMALLEST * AMPLIFIED * w[0].size
    for added in (None if b is None else b.reshape(rest), r):
        if added is not None:
            bound = bound + 2 * UNIT * added.astype(np.float64)
    return bound


def largest_of_tiles(x: Array, op: Op, w: tuple[int, ...], m: int) -> Array:
    """[N, 1, *out]: the largest |x| in the input tile from which Winograd's algorithm makes each output pixel."""
    assert isinstance(op, Conv)
    shape = conv_shape(op, x.shape, w)
    tile = output_tile(shape, m)
    reach = [input_length(t, s) for t, s in zip(tile, shape.stride[1:], strict=True)]
    step = [t * s for t, s in zip(tile, shape.stride[1:], strict=True)]
    need = [(math.ceil(o / t) - 1) * s + r for o, t, s, r in zip(shape.out_size[1:], tile, step, reach, strict=True)]
    plane = np.abs(x).max(1).reshape(len(x), *shape.size[1:])
    padded = np.zeros((len(x), *(max(k, p + s) for k, p, s in zip(need, shape.pad[1:], plane.shape[1:], strict=True))))
    padded[:, shape.pad[1]:, shape.pad[2]:][:, :plane.shape[1], :plane.shape[2]] = plane
    tiles: Any = np.lib.stride_tricks.sliding_window_view(padded, reach, (1, 2))[:, ::step[0], ::step[1]].max((3, 4))
    spread = tiles.repeat(tile[0], 1).repeat(tile[1], 2)[:, :shape.out_size[1], :shape.out_size[2]]
    return np.asarray(spread).reshape(len(x), 1, *shape.out_size[5 - len(w):])


def largest_of_pairs(x: Array, op: Op, w: tuple[int, ...]) -> Array:
    """[N, 1, *out]: the largest |x| of the two pixels that Strassen's algorithm pairs."""
    assert isinstance(op, Conv)
    strides = conv_shape(op, x.shape, w).stride[5 - len(w):]
    x = x[:, :, *(slice(None, None, step) for step in strides)]
    flat = np.abs(x).max(1).reshape(len(x), -1).astype(np.float64)
    rows = conv_strassen.choose_rows(flat.shape[1], native.host_lanes())
    padded = np.pad(flat, ((0, 0), (0, -flat.shape[1] % (2 * rows)))).reshape(len(x), -1, 2, rows)
    spread = padded.max(2, keepdims=True).repeat(2, 2).reshape(len(x), -1)[:, :flat.shape[1]]
    return spread.reshape(len(x), 1, *x.shape[2:])
