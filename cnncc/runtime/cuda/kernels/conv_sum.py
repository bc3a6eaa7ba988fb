"""The end of a convolution whose blocks shared the steps of a tile: parts are added up in order, then the epilogue.

y = act(bias + add + scratch[0] + scratch[1] + ...), all in the layout of y [N, G, OC/G, pixels]; bias is [G, pitch].
"""

from __future__ import annotations

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cuda.kernel import Kernel, Stage, Work, ceil_div, make_params

THREADS = 256


def stage(shape: ConvShape, parts: int, pitch: int, residual: bool, activation: str, p: float, q: float) -> Stage:
    """What follows the stage that left ``parts`` sums; ``pitch`` is that of bias."""
    size, per_group = shape.images * shape.out_channels * shape.pixels, shape.out_channels // shape.groups
    params = make_params(residual=int(residual), activation=activation)
    return Stage(KERNEL, params, (size, parts, shape.pixels, shape.out_channels, per_group, pitch),
                 (ceil_div(size, THREADS), 1, 1), (THREADS, 1, 1), (p, q),
                 work=Work(size * parts, 4.0 * size * (parts + 1 + residual)))


def build(residual: int, activation: str):
    from cnncc.runtime.cuda.epilogue import build_activation
    from cnncc.runtime.cuda.integers import divide
    from cnncc.runtime.cuda.language import cuda, int32

    activate = build_activation(activation)

    def conv_sum(scratch, bias, add, y, size, parts, pixels, out_channels, per_group, pitch, p, q):
        at = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
        if at < size:
            row, _ = divide(at, pixels)
            _, channel = divide(row, out_channels)
            group, channel = divide(channel, per_group)
            value = bias[group * pitch + channel]
            for part in range(parts):
                value += scratch[part * size + at]
            if residual:
                value += add[at]
            y[at] = activate(value, p, q)

    return conv_sum


KERNEL = Kernel("conv_sum", ("scratch", "bias", "add", "y"),
                ("size", "parts", "pixels", "out_channels", "per_group", "pitch"), build, ("p", "q"))
