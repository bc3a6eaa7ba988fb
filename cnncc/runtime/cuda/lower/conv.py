"""Conv on its CUDA kernels: one Algorithm a kernel, and the choice among them by estimated time."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import TensorType
from ....ops.conv import Conv
from ...cpu.conv_shape import ConvShape
from ...cpu.lower.activation import epilogue
from ...cpu.lower.conv import assumed_shape, conv_shape
from ...cpu.lower.convolutions import refuse_operands
from ...cpu.lowering import PLAIN, Choice, Lowering, Refusal, Tensor
from ..devices import DEFAULT, Device
from ..kernel import MAX_INTEGER, Launch, ceil_div
from ..kernels import conv_depthwise, conv_direct, conv_winograd
from ..tf32 import on_tensor_cores
from ..tiles import L2_SPEED, PROLOGUE, ROWS, Product, choose_tile, moved_bytes, seconds
from .accuracy import TF32, allowed_forms

__all__ = ["ALGORITHMS", "LOWERINGS", "ConvLowering"]

Array = np.ndarray[Any, Any]
Params = dict[str, int | str]
Activation = tuple[str, float, float]


class Algorithm:
    """One way to compute a convolution. `cost` estimates it in seconds; None where it does not apply, or is none of the
    `forms` that accuracy allows. Of what was chosen, `pack`, `extra` and `launch` depend on params only."""

    def cost(self, shape: ConvShape, device: Device, forms: Collection[int | str]) -> float | None:
        raise NotImplementedError  # abstract

    def params(self, shape: ConvShape, device: Device) -> Params:
        """What the plan stores."""
        raise NotImplementedError  # abstract

    def pack(self, shape: ConvShape, w: Array, params: Params) -> Array:
        raise NotImplementedError  # abstract

    def pack_bias(self, shape: ConvShape, bias: Array | None, params: Params) -> Array:
        raise NotImplementedError  # abstract

    def extra(self, shape: ConvShape, params: Params) -> dict[str, Array]:
        """Constants beside weights and bias, by word; of the shape no size counts."""
        return {}

    def launch(self, shape: ConvShape, params: Params, device: Device, residual: bool,
               activation: Activation) -> Launch:
        raise NotImplementedError  # abstract


class Direct(Algorithm):
    """Implicit GEMM. How weights are packed is the plan's; how wide tiles are and whether parts share them is found
    for the sizes of a run. With `tensor` on tensor cores, if the device has them."""

    def __init__(self, tensor: bool = False) -> None:
        self.tensor = tensor

    def product(self, shape: ConvShape) -> Product:
        form = conv_direct.packed_form(shape)
        return Product(shape.out_channels // shape.groups, shape.images * shape.pixels, conv_direct.depth(shape, form),
                       shape.groups, traffic(shape))

    def cost(self, shape: ConvShape, device: Device, forms: Collection[int | str]) -> float | None:
        if self.tensor and (TF32 not in forms or not device.tf32):
            return None
        product = self.product(shape)
        return seconds(device, product, choose_tile(device, product, tensor=self.tensor))

    def params(self, shape: ConvShape, device: Device) -> Params:
        rows = choose_tile(device, self.product(shape), tensor=self.tensor).m
        params: Params = {"form": conv_direct.packed_form(shape), "rows": rows}
        return {**params, "tensor": 1} if self.tensor else params

    def pack(self, shape: ConvShape, w: Array, params: Params) -> Array:
        return conv_direct.pack_weights(w, shape.groups, str(params["form"]), rows_of(params), tensor=self.tensor)

    def pack_bias(self, shape: ConvShape, bias: Array | None, params: Params) -> Array:
        return conv_direct.pack_bias(bias, shape.out_channels, shape.groups, rows_of(params))

    def extra(self, shape: ConvShape, params: Params) -> dict[str, Array]:
        return {"taps": conv_direct.pack_taps(shape, str(params["form"]))}

    def launch(self, shape: ConvShape, params: Params, device: Device, residual: bool,
               activation: Activation) -> Launch:
        form, rows = params.get("form"), rows_of(params)
        if form not in ("channels", "taps") or (form == "taps" and not conv_direct.fits_table(shape)):
            raise PlanInvalid(f"conv_direct cannot walk the taps of a {shape.kernel} kernel of "
                              f"{shape.channels // shape.groups} channels in the form {form!r}")
        tile = choose_tile(device, self.product(shape), [rows], tensor=self.tensor)
        return conv_direct.launch(shape, tile, str(form), residual, *activation)


class Depthwise(Algorithm):
    """Narrow groups, a thread for each few outputs. A multiprocessor issues instructions for 128 threads a cycle."""

    ISSUE = 128 * 0.7  # so many of them in time
    LATENCY = 3e-6

    def cost(self, shape: ConvShape, device: Device, forms: Collection[int | str]) -> float | None:
        if shape.groups == 1 or not conv_depthwise.supports(shape):
            return None
        issue = conv_depthwise.instructions(shape) / (self.ISSUE * device.multiprocessors * device.clock)
        return self.LATENCY + max(issue, traffic(shape) / device.bandwidth)

    def params(self, shape: ConvShape, device: Device) -> Params:
        return {}

    def pack(self, shape: ConvShape, w: Array, params: Params) -> Array:
        return np.ascontiguousarray(w)

    def pack_bias(self, shape: ConvShape, bias: Array | None, params: Params) -> Array:
        return np.zeros(shape.out_channels, np.float32) if bias is None else np.ascontiguousarray(bias)

    def launch(self, shape: ConvShape, params: Params, device: Device, residual: bool,
               activation: Activation) -> Launch:
        if not conv_depthwise.supports(shape):
            raise PlanInvalid("conv_depthwise takes one or two spatial axes")
        return conv_depthwise.launch(shape, residual, *activation)


class Winograd(Algorithm):
    """F(m,3) along both axes: fewer products, but what is between its kernels goes through memory, or the cache."""

    def __init__(self, m: int) -> None:
        self.m = m

    def product(self, shape: ConvShape) -> Product:
        points = (self.m + 2) ** 2
        return Product(shape.out_channels, conv_winograd.tiles_at_once(shape, self.m), shape.channels, points,
                       moved_bytes(points * shape.channels * shape.out_channels))

    def cost(self, shape: ConvShape, device: Device, forms: Collection[int | str]) -> float | None:
        if self.m not in forms or not conv_winograd.supports(shape):
            return None
        product = self.product(shape)
        runs = ceil_div(shape.images * math.prod(conv_winograd.count_tiles(shape, self.m)), product.n)
        between = 2 * moved_bytes(product.batch * product.n * (shape.channels + shape.out_channels))
        speed = device.bandwidth * (L2_SPEED if between < device.l2 else 1.0)
        return traffic(shape) / device.bandwidth + runs * (
            seconds(device, product, choose_tile(device, product, splits=False)) + 2 * (device.launch + PROLOGUE)
            + between / speed)

    def params(self, shape: ConvShape, device: Device) -> Params:
        return {"m": self.m, "rows": choose_tile(device, self.product(shape), splits=False).m}

    def pack(self, shape: ConvShape, w: Array, params: Params) -> Array:
        return conv_winograd.pack_weights(w, self.m, rows_of(params))

    def pack_bias(self, shape: ConvShape, bias: Array | None, params: Params) -> Array:
        return np.zeros(shape.out_channels, np.float32) if bias is None else np.ascontiguousarray(bias)

    def launch(self, shape: ConvShape, params: Params, device: Device, residual: bool,
               activation: Activation) -> Launch:
        if not conv_winograd.supports(shape):
            raise PlanInvalid("conv_winograd needs a 3x3 kernel of stride 1, and no groups")
        tile = choose_tile(device, self.product(shape), [rows_of(params)], splits=False)
        return conv_winograd.launch(shape, self.m, tile, residual, *activation)


def traffic(shape: ConvShape) -> float:
    """Bytes that come from and go to device memory once, a residual apart."""
    return moved_bytes(shape.images * shape.channels * math.prod(shape.size),
                       shape.out_channels * shape.channels // shape.groups * shape.taps,
                       shape.images * shape.out_channels * shape.pixels)


def rows_of(params: Params) -> int:
    rows = params.get("rows")
    if not isinstance(rows, int) or rows not in ROWS:
        raise PlanInvalid(f"there is no tile of {rows!r} rows")
    return rows


# By the name that a plan's step has; the first of equal cost is chosen.
ALGORITHMS: dict[str, Algorithm] = {
    "conv_depthwise": Depthwise(),
    "conv_direct": Direct(),
    "conv_direct/tf32": Direct(tensor=True),
    "conv_winograd/2": Winograd(2),
    "conv_winograd/4": Winograd(4),
}


class ConvLowering(Lowering):
    """X, W, B and R; W and B must be constants."""

    input_words = ("x", "w", "bias", "add")
    overwritable = (3,)

    def __init__(self, accuracy: str = "default", device: Device = DEFAULT) -> None:
        self.accuracy, self.device = accuracy, device

    def choose(self, op: Any, inputs: Sequence[Tensor | None], outputs: Sequence[TensorType],
               lanes: int) -> Choice | Refusal:
        x, w, b = (*inputs, None)[:3]
        assert x is not None and w is not None
        reason = refuse_operands(x, w, b, "convolution", "have CUDA kernels")
        if reason:
            return Refusal(reason)
        shape = conv_shape(op, assumed_shape(x.type.shape), w.shape)
        if largest(shape) > MAX_INTEGER:
            return Refusal("a tensor of the convolution has more than 2^31 - 1 elements")
        costs = self.costs(op, inputs)
        name = min(costs, key=costs.__getitem__)
        return Choice(name.split("/")[0], ALGORITHMS[name].params(shape, self.device), (PLAIN,) * len(inputs), (PLAIN,))

    def costs(self, op: Conv, inputs: Sequence[Tensor | None]) -> dict[str, float]:
        """What each algorithm that applies is estimated to take, in seconds, by its name in ALGORITHMS."""
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None and w.value is not None
        shape = conv_shape(op, assumed_shape(x.type.shape), w.shape)
        forms = allowed_forms(self.accuracy, w.value)
        costs = {name: one.cost(shape, self.device, forms) for name, one in ALGORITHMS.items()}
        return {name: cost for name, cost in costs.items() if cost is not None}

    def _shape(self, op: Any, inputs: Sequence[Tensor | None]) -> ConvShape:
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None
        return conv_shape(op, assumed_shape(x.type.shape), w.shape)

    def pack(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], index: int, lanes: int) -> Array:
        w, b = (*inputs, None)[1:3]
        assert w is not None and w.value is not None
        shape, algorithm, params = self._shape(op, inputs), _algorithm(choice), dict(choice.params)
        if index == 1:
            return algorithm.pack(shape, w.value, params)
        if index == 3:  # what is added, of the output's shape
            return super().pack(op, choice, inputs, index, lanes)
        return algorithm.pack_bias(shape, None if b is None else b.value, params)

    def extra(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], lanes: int) -> dict[str, Array]:
        shape, algorithm, params = self._shape(op, inputs), _algorithm(choice), dict(choice.params)
        bias = {} if len(inputs) > 2 and inputs[2] is not None else {"bias": algorithm.pack_bias(shape, None, params)}
        return bias | algorithm.extra(shape, params)

    def launch(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
               lanes: int) -> Launch:
        x, w = inputs[0], inputs[1]
        assert x is not None and w is not None
        shape, residual = conv_shape(op, x.shape, w.shape), len(inputs) > 3 and inputs[3] is not None
        if largest(shape) > MAX_INTEGER:
            raise PlanInvalid("a tensor of the convolution has more than 2^31 - 1 elements")
        return _algorithm(choice).launch(shape, dict(choice.params), self.device, residual, epilogue(op.activation))


def largest(shape: ConvShape) -> int:
    """Elements of the larger of x and y; kernels count them in 32 bits."""
    return shape.images * max(shape.channels * math.prod(shape.size), shape.out_channels * shape.pixels)


def _algorithm(choice: Choice) -> Algorithm:
    name = algorithm_name(choice.kernel, choice.params)
    if name not in ALGORITHMS:
        raise PlanInvalid(f"there is no convolution kernel '{name}'")
    return ALGORITHMS[name]


def algorithm_name(kernel: str, params: Mapping[str, int | str]) -> str:
    """The name in ALGORITHMS of what a plan's step has."""
    if kernel == "conv_winograd":
        return f"{kernel}/{params.get('m')}"
    return f"{kernel}/tf32" if on_tensor_cores(params) else kernel


LOWERINGS: dict[str, Lowering] = {"Conv": ConvLowering()}
