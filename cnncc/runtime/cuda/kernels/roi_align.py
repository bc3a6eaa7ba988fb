"""RoiAlign: a thread for each bin of a channel, whose samples it takes one after another.

The number of a region's picture is clamped to those that are there.
"""

from __future__ import annotations

import math

from cnncc.runtime.cpu.kernels.roi_align import MOST_SAMPLES
from cnncc.runtime.cuda.kernel import Kernel, Launch, Work, ceil_div, make_params, simple

__all__ = ["KERNEL", "launch"]

BLOCK = 128
DIMS = ("count", "images", "channels", "in_h", "in_w", "out_h", "out_w", "sampling")


def launch(images: int, channels: int, size: tuple[int, int], regions: int, out_size: tuple[int, int], sampling: int,
           scale: float, mode: str, aligned: bool) -> Launch:
    """The step; ``sampling`` 0 is adaptive."""
    count, inputs = regions * channels * math.prod(out_size), images * channels * math.prod(size)
    dims = (count, images, channels, *size, *out_size, sampling)
    return simple(KERNEL, make_params(mode=mode, aligned=int(aligned)), dims,
                  (ceil_div(count, BLOCK) if images else 0, 1, 1), (BLOCK, 1, 1), floats=(scale,),
                  work=Work(32 * count, 4 * (inputs + count)), writes={"y": (0, 4 * count)},
                  reads={"x": (0, 4 * inputs), "rois": (0, 16 * regions), "pictures": (0, 8 * regions)})


def build(mode: str, aligned: int):
    from cnncc.runtime.cuda.conversion import build_rounding
    from cnncc.runtime.cuda.indexing import element, quotient, remainder, whole
    from cnncc.runtime.cuda.language import device, float32

    up, _, _ = build_rounding(float32)
    zero, half, one, most = float32(0), float32(0.5), float32(1), float32(MOST_SAMPLES)
    average = mode == "avg"

    @device
    def side(start, stop, scale, bins):
        """Where a region begins along an axis, and how long a bin is."""
        shift = half if aligned else zero
        begin = start * scale - shift
        length = stop * scale - shift - begin
        if not aligned and length < one:
            length = one
        return begin, length / float32(bins)

    @device
    def samples(width, sampling):
        if sampling > 0:
            return sampling
        return whole(min(up(width), most)) if width > zero else 0

    @device
    def between(at, size):
        """The two pixels at a position and the weight of the second; a weight of -1 marks one that is outside."""
        if not (-one <= at and at <= float32(size)):
            return 0, 0, -one
        at = min(max(at, zero), float32(size - 1))
        low = whole(at)
        return low, min(low + 1, size - 1), at - float32(low)

    def roi_align(x, rois, pictures, y, count, images, channels, in_h, in_w, out_h, out_w, sampling, scale):
        number = element()
        if number >= count:
            return
        column, rest = remainder(number, out_w), quotient(number, out_w)
        row, rest = remainder(rest, out_h), quotient(rest, out_h)
        channel, region = remainder(rest, channels), quotient(rest, channels)
        picture = whole(min(max(pictures[region], 0), images - 1))
        plane = whole((picture * channels + channel) * in_h * in_w)
        left, width = side(rois[4 * region], rois[4 * region + 2], scale, out_w)
        top, height = side(rois[4 * region + 1], rois[4 * region + 3], scale, out_h)
        across, down = samples(width, sampling), samples(height, sampling)
        top, left = top + float32(row) * height, left + float32(column) * width
        total = zero
        for i in range(down):
            above, below, lower = between(top + (float32(i) + half) * height / float32(down), in_h)
            for j in range(across):
                before, behind, later = between(left + (float32(j) + half) * width / float32(across), in_w)
                upper, sooner = one - lower, one - later
                p = q = r = s = zero
                if lower >= zero and later >= zero:
                    p = x[plane + above * in_w + before] * (upper * sooner)
                    q = x[plane + above * in_w + behind] * (upper * later)
                    r = x[plane + below * in_w + before] * (lower * sooner)
                    s = x[plane + below * in_w + behind] * (lower * later)
                if average:
                    total += p + q + r + s
                else:
                    largest = max(max(p, q), max(r, s))
                    total = largest if i + j == 0 or largest > total else total
        y[number] = total / float32(max(down * across, 1)) if average else total

    return roi_align


KERNEL = Kernel("roi_align", ("x", "rois", "pictures", "y"), DIMS, build, ("scale",),
                lambda **_: {"pictures": "i64"}, lambda **_: BLOCK)
