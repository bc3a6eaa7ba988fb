"""Convolutions for the tests of their kernels: shapes, and what they must give."""

from __future__ import annotations

import numpy as np

from cnncc.runtime.cpu.conv_shape import ConvShape

__all__ = ["UNIT", "numbers", "reference", "shape_of"]

UNIT = 2.0**-24


def numbers(rng, *shape) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def reference(shape: ConvShape, x, w):
    """float64 sums of products, and of their magnitudes."""
    out = []
    for a, b in ((x, w), (abs(x), abs(w))):
        a = np.pad(a.astype(np.float64), ((0, 0), (0, 0), *((p, 64) for p in shape.pad)))
        a = a.reshape(shape.images, shape.groups, -1, *a.shape[2:])
        b = b.astype(np.float64).reshape(shape.groups, -1, *b.shape[1:])
        y = np.zeros((shape.images, shape.groups, b.shape[1], *shape.out_size))
        for tap in np.ndindex(*shape.kernel):
            at = tuple(slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, o, s in
                       zip(tap, shape.dilation, shape.out_size, shape.stride, strict=True))
            y += np.einsum("ngcdhw,goc->ngodhw", a[(..., *at)], b[(..., *tap)])
        out.append(y.reshape(shape.images, shape.out_channels, *shape.out_size))
    return out


def shape_of(c, oc, size, kernel=(1, 1, 1), stride=(1, 1, 1), dilation=(1, 1, 1), pad=(0, 0, 0), after=(0, 0, 0),
             groups=1, images=1) -> ConvShape:
    out = tuple((n + p + q - (k - 1) * d - 1) // s + 1 for n, p, q, k, d, s in
                zip(size, pad, after, kernel, dilation, stride, strict=True))
    return ConvShape(images, c, oc, size, out, kernel, stride, dilation, pad, groups)
