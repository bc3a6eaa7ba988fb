"""The geometry of a convolution, which all of its kernels have in common."""

import math

from cnncc.records import record


@record
class ConvShape:
    """A convolution with the spatial rank lifted to 3 (leading ones). Sizes per image; channels over all groups."""

    images: int
    channels: int
    out_channels: int
    size: tuple[int, int, int]
    out_size: tuple[int, int, int]
    kernel: tuple[int, int, int]
    stride: tuple[int, int, int] = (1, 1, 1)
    dilation: tuple[int, int, int] = (1, 1, 1)
    pad: tuple[int, int, int] = (0, 0, 0)
    groups: int = 1

    @property
    def taps(self) -> int:
        return math.prod(self.kernel)

    @property
    def pixels(self) -> int:
        return math.prod(self.out_size)

    @property
    def is_pointwise(self) -> bool:
        """Output pixel p reads input pixel p and no other."""
        return self.is_sampling and self.size == self.out_size

    @property
    def is_sampling(self) -> bool:
        """An output pixel reads one input pixel, which is never in the padding."""
        ends = zip(self.out_size, self.stride, self.size, strict=True)
        return self.taps == 1 and self.pad == (0, 0, 0) and all((o - 1) * s < n for o, s, n in ends)
