"""Local response normalization: y = x / (bias + alpha / size * sum of the squares of `size` channels)^beta.

A thread for each element: the channels around it, a plane apart, are read by its neighbours too, from the caches.
"""

from __future__ import annotations

import math

from cnncc.runtime.cuda.kernel import Kernel, Launch, Work, ceil_div, make_params, simple

__all__ = ["KERNEL", "launch"]

BLOCK = 256


def launch(shape: tuple[int, ...], size: int, alpha: float, beta: float, bias: float) -> Launch:
    """The step for an f32 tensor [N, C, *spatial]."""
    count, pixels, channels = math.prod(shape), math.prod(shape[2:]), shape[1]
    dims = (count, channels, pixels, min((size - 1) // 2, channels), min(size // 2, channels))
    return simple(KERNEL, make_params(), dims, (ceil_div(count, BLOCK), 1, 1), (BLOCK, 1, 1),
                  floats=(alpha / size, beta, bias), work=Work(2 * min(size, channels) * count, 8 * count),
                  reads={"x": (0, 4 * count)}, writes={"y": (0, 4 * count)})


def build():
    from cnncc.runtime.cuda.indexing import element, quotient, remainder
    from cnncc.runtime.cuda.language import float32

    def lrn(x, y, count, channels, pixels, below, above, scale, beta, bias):
        at = element()
        if at >= count:
            return
        channel = remainder(quotient(at, pixels), channels)
        total = float32(0)
        for c in range(max(-channel, -below), min(channels - channel, above + 1)):
            value = x[at + c * pixels]
            total += value * value
        y[at] = x[at] / float32(math.pow(bias + scale * total, beta))

    return lrn


KERNEL = Kernel("lrn", ("x", "y"), ("count", "channels", "pixels", "below", "above"), build, ("scale", "beta", "bias"),
                threads=lambda **_: BLOCK)
