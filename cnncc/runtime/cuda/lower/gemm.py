"""Gemm and MatMul on tiles, or on the kernel for few rows, by the CPU's rules of how operands lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import DType, TensorType
from ...cpu.kernels.gemm import GemmShape
from ...cpu.lower import gemm as cpu
from ...cpu.lower.activation import epilogue
from ...cpu.lowering import PLAIN, Choice, Lowering, Refusal, Tensor
from ..devices import DEFAULT, Device
from ..kernel import MAX_GRID, MAX_INTEGER, Launch
from ..kernels import gemm, gemv
from ..tf32 import on_tensor_cores
from ..tiles import Product, choose_tile, moved_bytes
from .accuracy import TF32

__all__ = ["LOWERINGS", "ProductLowering"]

Array = np.ndarray[Any, Any]


class ProductLowering(Lowering):
    """What multiplies is as `rules`, the CPU's lowering of the operator, has it. A constant matrix B that few rows
    multiply is packed so that it lies along K (`transposed`). Tiles are on tensor cores where accuracy allows it and
    the device has them."""

    input_words = ("a", "b", "c", "r")
    overwritable = (3,)

    def __init__(self, rules: cpu._Product, accuracy: str = "default", device: Device = DEFAULT) -> None:
        self.rules, self.accuracy, self.device = rules, accuracy, device

    def choose(self, op: Any, inputs: Sequence[Tensor | None], outputs: Sequence[TensorType],
               lanes: int) -> Choice | Refusal:
        if any(t is not None and t.type.dtype is not DType.F32 for t in inputs):
            return Refusal(f"{op.op_type} has CUDA kernels for f32 only")
        assumed = [None if t is None else cpu._assumed(t) for t in inputs]
        shape = self.rules.shape(op, assumed)
        if shape is None:
            return Refusal(f"{op.op_type} has no CUDA kernel for operands that lie like these")
        if reason := too_large(shape):
            return Refusal(reason)
        b = inputs[1]
        assert b is not None
        rows = math.prod(d if isinstance(d, int) else self.rules.ASSUMED_ROWS for d in outputs[0].shape[:-1])
        transposed = self.rules.matrix(op, b) is not None and rows <= gemv.MAX_ROWS
        params = {"transposed": int(transposed)} | ({"tensor": 1} if self.accuracy == TF32 else {})
        return Choice(gemm.KERNEL.name, params, (PLAIN,) * len(inputs), (PLAIN,))

    def pack(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], index: int, lanes: int) -> Array:
        b = inputs[1]
        if index != 1 or b is None or not choice.params.get("transposed"):
            return super().pack(op, choice, inputs, index, lanes)
        w = self.rules.matrix(op, b)
        if w is None:
            raise PlanInvalid(f"{op.op_type}: only one constant matrix can be packed")
        return np.ascontiguousarray(w.T)

    def launch(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
               lanes: int) -> Launch:
        shape = self.rules.shape(op, inputs)
        if shape is None or too_large(shape):
            raise PlanInvalid(f"{op.op_type}: no CUDA kernel multiplies these operands")
        if choice.params.get("transposed"):
            shape = along_k(shape)
        alpha, beta = self.rules.scales(op)
        residual, end = len(inputs) > 3 and inputs[3] is not None, epilogue(getattr(op, "activation", None))
        if gemv.suits(shape):
            return replace(gemv.launch(shape, residual, alpha, beta, *end), name=gemm.KERNEL.name)
        tile = choose_tile(self.device, product(shape), tensor=on_tensor_cores(choice.params))
        return gemm.launch(shape, tile, residual, alpha, beta, *end)


def along_k(shape: GemmShape) -> GemmShape:
    """With the matrix B as [N, K]."""
    if shape.batch:
        raise PlanInvalid("one matrix B is packed for all, not one of each item")
    return replace(shape, b=(1, shape.k))


def product(shape: GemmShape) -> Product:
    batch = math.prod(shape.batch)
    moved = moved_bytes(batch * shape.m * shape.k, batch * shape.k * shape.n, batch * shape.m * shape.n)
    return Product(shape.m, shape.n, shape.k, batch, moved)


def too_large(shape: GemmShape) -> str | None:
    batch = math.prod(shape.batch)
    if batch * max(shape.m * shape.k, shape.k * shape.n, shape.m * shape.n) > MAX_INTEGER or batch > MAX_GRID[2]:
        return "an operand of the matrix product has more than 2^31 - 1 elements, or it has too many items"
    return None


LOWERINGS: dict[str, Lowering] = {name: ProductLowering(rules) for name, rules in cpu.LOWERINGS.items()
                                  if isinstance(rules, cpu._Product)}
