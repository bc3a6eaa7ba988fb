"""Normalization by the tensor's own statistics: y = (x - mean) / sqrt(variance + epsilon) * scale + bias.

A team of threads has a part of memory whose elements share their statistics: a group of channels of an image (form
"channels": a scale and a bias a channel), or a row (form "elements": one of each an element). A second walk sums
x - mean and its squares: the first corrects the mean's rounding, the second is the variance. With `centred` 0 the mean
is not subtracted: that is RMSNormalization.
"""

from __future__ import annotations

import math

from cnncc.runtime.cuda.kernel import Kernel, Launch, Params, Work, make_params, simple
from cnncc.runtime.cuda.team import BLOCK, arrange, team_for

__all__ = ["KERNEL", "launch_channels", "launch_elements"]

DIMS = ("rows", "size", "groups", "spread", "pixels")


def launch_channels(images: int, groups: int, spread: int, pixels: int, epsilon: float) -> Launch:
    """The step for images of groups * spread channels."""
    size = spread * pixels
    params = make_params(form="channels", centred=1, team=team_for(size))
    return _launch(params, (images * groups, size, groups, spread, pixels), epsilon, groups * spread)


def launch_elements(rows: int, size: int, epsilon: float, centred: bool) -> Launch:
    """The step for rows of `size` elements."""
    params = make_params(form="elements", centred=int(centred), team=team_for(size))
    return _launch(params, (rows, size, 1, 1, 1), epsilon, size)


def _launch(params: Params, dims: tuple[int, ...], epsilon: float, numbers: int) -> Launch:
    team, total = int(dict(params)["team"]), dims[0] * dims[1]
    grid, block = arrange(dims[0] if total else 0, team)
    return simple(KERNEL, params, dims, grid, block, floats=(epsilon,),
                  work=Work(8 * total, 8 * total), writes={"y": (0, 4 * total)},
                  reads={"x": (0, 4 * total), "scale": (0, 4 * numbers), "bias": (0, 4 * numbers)})


def build(form: str, centred: int, team: int):
    from cnncc.runtime.cuda.indexing import quotient, remainder, whole
    from cnncc.runtime.cuda.language import cuda, device, float32
    from cnncc.runtime.cuda.team import build_combine

    combine = build_combine(team, float32, device(lambda a, b: a + b))
    zero = float32(0)

    def normalize(x, scale, bias, y, rows, size, groups, spread, pixels, epsilon):
        at = whole(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y)
        first = whole(min(at, rows - 1) * size)
        mean, count = zero, float32(size)
        if centred:
            for i in range(cuda.threadIdx.x, size, team):
                mean += x[first + i]
            mean = combine(mean) / count
        squares, rest = zero, zero
        for i in range(cuda.threadIdx.x, size, team):
            value = x[first + i] - mean
            squares += value * value
            rest += value
        squares = combine(squares) / count
        if centred:
            rest = combine(rest) / count
            mean += rest
            squares -= rest * rest
        factor = float32(1) / float32(math.sqrt(squares + epsilon))
        if at >= rows:
            return
        channel = whole(remainder(at, groups) * spread)
        for i in range(cuda.threadIdx.x, size, team):
            word = i if form == "elements" else channel + quotient(i, pixels)
            y[first + i] = (x[first + i] - mean) * factor * scale[word] + bias[word]

    return normalize


KERNEL = Kernel("normalize", ("x", "scale", "bias", "y"), DIMS, build, ("epsilon",), threads=lambda **_: BLOCK)
