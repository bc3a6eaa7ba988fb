"""QuantizeLinear, DequantizeLinear and functions of quantised tensors: elementwise formulas, tables of 256 bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import DType, Op, TensorType
from ....ops.quantize import BYTES
from ..kernel import Launch
from ..kernels import lookup, pool_integer, quantize_dynamic
from ..lowering import BLOCKED, PLAIN, Choice, Lowering, Refusal, Tensor, stored_elements
from .elementwise import ElementwiseLowering, Formula
from .layouts import expect_layouts

__all__ = ["LOWERINGS"]

Array = np.ndarray[Any, Any]
Inputs = Sequence[Tensor | None]


class _Linear(ElementwiseLowering):
    """x, its scale and its zero point, of which the latter may be absent; one number, or one along an axis."""

    overwritable = ()

    def __init__(self, name: str) -> None:
        super().__init__(self._rule)
        self.name = name

    def _rule(self, op: Any, inputs: Inputs) -> Formula | Refusal:
        x, scale = inputs[0], inputs[1]
        assert x is not None and scale is not None
        real = {x.type.dtype, scale.type.dtype} if self.name == "quantize" else {scale.type.dtype}
        if real != {DType.F32} or getattr(op, "precision", None) not in (None, DType.F32):
            return Refusal("it is native for f32 only")
        if op.block_size:
            return Refusal("scales of blocks have no native kernel")
        if op.output_dtype is not None and self.name == "dequantize" and op.output_dtype is not DType.F32:
            return Refusal("it is native for f32 only")
        if scale.type.shape not in ((), (1,)) and op.axis % x.type.rank != 1:
            return Refusal("scales are native along axis 1 only")
        absent = len(inputs) < 3 or inputs[2] is None
        return Formula(self.name + ("_from_zero" if absent else ""))

    def _read(self, inputs: Inputs) -> list[Tensor]:
        """Scale and zero point as they are broadcast to x: along axis 1."""
        x, *parameters = super()._read(inputs)
        shape = (1,) * max(x.type.rank - 2, 0)
        return [x, *(replace(t, type=TensorType(t.type.dtype, (*t.type.shape, *shape) if t.type.shape not in ((), (1,))
                                                else ())) for t in parameters)]

    def pack(self, op: Op, choice: Choice, inputs: Inputs, index: int, lanes: int) -> Array:
        tensor = inputs[index]
        assert tensor is not None and tensor.value is not None
        return super().pack(op, choice, inputs, index, lanes) if index == 0 else np.ascontiguousarray(tensor.value)


class _Binary(ElementwiseLowering):
    """QLinearAdd and QLinearMul with all zero points."""

    overwritable = ()

    def __init__(self, name: str) -> None:
        super().__init__(self._rule)
        self.name = name

    def _rule(self, op: Any, inputs: Inputs) -> Formula | Refusal:
        if len(inputs) != 8 or any(t is None for t in inputs):
            return Refusal("it is native with all zero points only")
        scales = [inputs[i] for i in (1, 4, 6)]
        if any(t is None or t.type.dtype is not DType.F32 for t in scales):
            return Refusal("scales are native in f32 only")
        return Formula(self.name)

    def _read(self, inputs: Inputs) -> list[Tensor]:
        """Parameters as scalars."""
        return [t if i in (0, 3) else replace(t, type=TensorType(t.type.dtype, ()))
                for i, t in enumerate(super()._read(inputs))]

    def pack(self, op: Op, choice: Choice, inputs: Inputs, index: int, lanes: int) -> Array:
        tensor = inputs[index]
        assert tensor is not None and tensor.value is not None
        whole = index in (0, 3)
        return super().pack(op, choice, inputs, index, lanes) if whole else np.ascontiguousarray(tensor.value)


class _Table(Lowering):
    """A function of a byte, whose table is the reference of all bytes."""

    input_words = ("x", None, None, None, None)

    def choose(self, op: Op, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        x = inputs[0]
        assert x is not None
        if any(t is not None and (not t.constant or t.value is None) for t in inputs[1:]):
            return Refusal("scales and zero points must be constants")
        return Choice(lookup.KERNEL.name, inputs=(x.layout, *(PLAIN,) * (len(inputs) - 1)), outputs=(x.layout,))

    def extra(self, op: Op, choice: Choice, inputs: Inputs, lanes: int) -> dict[str, Array]:
        x = inputs[0]
        assert x is not None
        every = np.arange(256, dtype=np.uint8).view(x.type.dtype.numpy)
        [table] = op.reference(every, *(None if t is None else t.value for t in inputs[1:]))
        return {"table": np.ascontiguousarray(table)}

    def launch(self, op: Op, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, y = inputs[0], outputs[0]
        assert x is not None
        expect_layouts(op, [x, y], [y.layout, y.layout])
        if x.type.dtype not in BYTES or any(t is not None and t.value is None for t in inputs[1:]):
            raise PlanInvalid(f"{op.op_type} of {x.type} has no table")
        return lookup.launch(stored_elements(x.shape, x.layout, lanes))


class _Dynamic(Lowering):
    """DynamicQuantizeLinear, plain."""

    output_words = ("y", "scale", "zero")

    def choose(self, op: Op, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        if len(outputs) < 3:
            return Refusal("it is native with all three outputs only")
        return Choice(quantize_dynamic.KERNEL.name, inputs=(PLAIN,), outputs=(PLAIN,) * 3)

    def launch(self, op: Op, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        expect_layouts(op, [*inputs, *outputs], [PLAIN] * 4)
        x = inputs[0]
        assert x is not None
        return quantize_dynamic.launch(math.prod(x.shape), lanes)


class _GlobalAveragePool(Lowering):
    """QLinearGlobalAveragePool: blocked to plain."""

    input_words = ("x", None, None, None, None)

    def choose(self, op: Op, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        if any(t is not None and (not t.constant or t.value is None) for t in inputs[1:]):
            return Refusal("scales and zero points must be constants")
        return Choice(pool_integer.KERNEL.name, inputs=(BLOCKED, *(PLAIN,) * (len(inputs) - 1)))

    def launch(self, op: Op, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, y = inputs[0], outputs[0]
        assert x is not None
        expect_layouts(op, [x, y], [BLOCKED, PLAIN])
        values = [t.value for t in inputs[1:] if t is not None and t.value is not None]
        if x.type.dtype not in BYTES or len(values) != 4 or values[0].dtype != np.float32:
            raise PlanInvalid(f"{op.op_type} of {x.type} has no kernel for these operands")
        x_scale, x_zero, y_scale, y_zero = (v.reshape(()) for v in values)
        with np.errstate(all="ignore"):
            factor = x_scale / (y_scale * np.float32(math.prod(x.shape[2:])))
        info, zero = np.iinfo(y_zero.dtype), int(y_zero)
        return pool_integer.launch(x.shape, lanes, x.type.dtype.value, int(x_zero), float(factor),
                                   float(info.min - zero), float(info.max - zero), zero)


LOWERINGS: dict[str, Lowering] = {
    "DequantizeLinear": _Linear("dequantize"),
    "DynamicQuantizeLinear": _Dynamic(),
    "QLinearActivation": _Table(),
    "QLinearAdd": _Binary("quantized_add"),
    "QLinearGlobalAveragePool": _GlobalAveragePool(),
    "QLinearLeakyRelu": _Table(),
    "QLinearMul": _Binary("quantized_mul"),
    "QLinearSigmoid": _Table(),
    "QuantizeLinear": _Linear("quantize"),
}
