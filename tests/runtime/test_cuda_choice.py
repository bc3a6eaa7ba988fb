"""Which kernel and which tile a convolution gets on a GPU: estimates, without a GPU or a simulator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cnncc.ir import DType, TensorType
from cnncc.ops import OPS
from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.lowering import Refusal, Tensor
from cnncc.runtime.cuda.devices import DEVICES
from cnncc.runtime.cuda.lower.conv import ALGORITHMS, ConvLowering
from cnncc.runtime.cuda.tiles import Product, choose_tile, seconds

H100 = DEVICES["h100"]


def chosen(x, w, accuracy="default", dtype=np.float32, **attributes):
    """The lowering's choice, and its launch for these sizes."""
    weights = np.random.default_rng(0).standard_normal(w).astype(dtype)
    kind = DType.of(weights.dtype)
    inputs = [Tensor(TensorType(kind, x)), Tensor(TensorType(kind, w), value=weights, constant=True)]
    op: Any = OPS["Conv"](**attributes)
    lowering = ConvLowering(accuracy)
    y = TensorType(kind, (x[0], w[0], *op.windows(x, w).output))
    choice = lowering.choose(op, inputs, [y], 1)
    return choice, None if isinstance(choice, Refusal) else lowering.launch(op, choice, inputs, [Tensor(y)], 1)


@pytest.mark.parametrize(("x", "w", "accuracy", "kernel", "attributes"), [
    ((1, 3, 224, 224), (64, 3, 7, 7), "default", "conv_direct", {"strides": (2, 2), "pads": (3, 3, 3, 3)}),
    ((32, 256, 56, 56), (256, 256, 3, 3), "default", "conv_winograd", {"pads": (1, 1, 1, 1)}),
    ((32, 256, 56, 56), (256, 256, 3, 3), "high", "conv_direct", {"pads": (1, 1, 1, 1)}),
    ((32, 256, 56, 56), (256, 256, 3, 3), "default", "conv_direct", {"pads": (1, 1, 1, 1), "strides": (2, 2)}),
    ((1, 96, 56, 56), (96, 1, 3, 3), "default", "conv_depthwise", {"pads": (1, 1, 1, 1), "group": 96}),
    ((1, 256, 14, 14), (256, 8, 3, 3), "default", "conv_depthwise", {"pads": (1, 1, 1, 1), "group": 32}),
    ((1, 256, 28, 28), (256, 128, 1, 1), "default", "conv_direct", {"group": 2}),
])
def test_kernels(x, w, accuracy: str, kernel: str, attributes) -> None:
    choice, launch = chosen(x, w, accuracy, **attributes)
    assert choice.kernel == launch.name == kernel


def test_rows_of_pixels_are_read_whole_where_they_can_be() -> None:
    """The plan stores how weights are packed; the form for the sizes at hand is the launch's."""
    for size, form in ((56, "wide"), (7, "channels")):
        choice, launch = chosen((1, 64, size, size), (64, 64, 1, 1))
        assert choice.params["form"] == "channels"
        assert dict(launch.stages[0].params)["form"] == form


def test_few_blocks_share_steps() -> None:
    """A deep layer at batch 1 has 4 tiles for 132 multiprocessors; at batch 1024 it has enough."""
    small, large = Product(512, 49, 4608), Product(512, 49 * 1024, 4608)
    assert choose_tile(H100, small).parts > 4
    assert choose_tile(H100, large).parts == 1
    assert choose_tile(H100, small, splits=False).parts == 1
    for product in (small, large):
        others = [choose_tile(H100, product, [m]) for m in (64, 128)]
        assert seconds(H100, product, choose_tile(H100, product)) == min(seconds(H100, product, t) for t in others)


def test_refusals() -> None:
    assert "f64" in chosen((1, 3, 5, 5), (2, 3, 3, 3), dtype=np.float64)[0].reason
    assert "2^31" in chosen((1, 1 << 10, 1 << 11, 1 << 11), (1, 1 << 10, 1, 1))[0].reason


@pytest.mark.parametrize(("x", "w", "accuracy", "tensor"), [
    ((32, 256, 56, 56), (256, 256, 1, 1), "tf32", True), ((32, 256, 56, 56), (256, 256, 1, 1), "fast", False),
    ((8, 64, 56, 56), (64, 64, 3, 3), "tf32", True)])
def test_tensor_cores_are_for_those_who_ask(x, w, accuracy: str, tensor: bool) -> None:
    choice, launch = chosen(x, w, accuracy)
    assert (choice.params.get("tensor") == 1) is tensor
    assert [dict(s.params).get("tensor") for s in launch.stages] == [int(tensor)]


def test_a_device_without_tensor_cores_multiplies_in_float32() -> None:
    """Also what was chosen for one that has them."""
    turing = replace(H100, tf32=0.0)
    choice, _ = chosen((32, 256, 56, 56), (256, 256, 1, 1), "tf32")
    shape = ConvShape(1, 256, 256, (1, 56, 56), (1, 56, 56), (1, 1, 1))
    launch = ALGORITHMS["conv_direct/tf32"].launch(shape, dict(choice.params), turing, False, ("clip", 0.0, 1.0))
    assert dict(launch.stages[0].params)["tensor"] == 0
    assert ALGORITHMS["conv_direct/tf32"].cost(shape, turing, {"tf32"}) is None
