"""Grouped 1x1 convolution on plain NCHW: a matrix product for every image and group, on the code of kernels/gemm.py.

    y[n, g] (OC/G x pixels) = act(w[g] (OC/G x IC/G) times x[n, g] (IC/G x pixels) + bias[g] + add[n, g])

Layouts (float32, contiguous): x [N, G, IC/G, D*H*W], w [G, OC/G, IC/G] as in ONNX, bias [G, OC/G], add and y as x.
"""

import math
from dataclasses import replace

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernel import Kernel, Launch
from cnncc.runtime.cpu.kernels import gemm

_WORDS = {"a": "w", "b": "x", "c": "bias", "r": "add", "y": "y", "scratch": "scratch"}

KERNEL = Kernel("conv_grouped_1x1", tuple(_WORDS[name] for name in gemm.OPERANDS), gemm.DIMS, gemm.build)


def supports(shape: ConvShape) -> bool:
    return shape.is_pointwise


def launch(
    shape: ConvShape, lanes: int, residual: bool = False, activation: str = "clip",
    a: float = -math.inf, b: float = math.inf,
) -> Launch:  # fmt: skip
    """The step of a grouped 1x1 convolution; ``a`` and ``b`` belong to the activation."""
    if not supports(shape):
        raise ValueError(f"{shape} is not pointwise")
    rows, depth, pixels = shape.out_channels // shape.groups, shape.channels // shape.groups, shape.pixels
    product = gemm.GemmShape(
        rows, pixels, depth, (depth, 1), (pixels, 1), (1, 0), (shape.images, shape.groups),
        (0, rows * depth), (shape.channels * pixels, depth * pixels), (0, rows),
    )  # fmt: skip
    made = gemm.launch(product, lanes, "rows", activation=activation, p=a, q=b, residual=residual)
    reads = {_WORDS[name]: extent for name, extent in made.reads.items()}
    return replace(made, kernel=KERNEL, reads=reads)
