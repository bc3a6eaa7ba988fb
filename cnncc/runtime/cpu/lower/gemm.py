"""Gemm and MatMul on the matrix product kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import DType, TensorType
from ....ops.elementwise import broadcast_shapes
from ..kernel import Launch
from ..kernels import gemm
from ..kernels.gemm import GemmShape
from ..lowering import PLAIN, Choice, Lowering, Refusal, Tensor
from .activation import epilogue

__all__ = ["GemmLowering", "MatMulLowering"]

Array = np.ndarray[Any, Any]


class _Product(Lowering):
    input_words = ("a", "b", "c")

    def shape(self, op: Any, inputs: Sequence[Tensor | None]) -> GemmShape | None:
        """The product's sizes and distances in memory; None where the kernel has no form for them."""
        raise NotImplementedError  # abstract

    def scales(self, op: Any) -> tuple[float, float]:
        return 1.0, 1.0

    def packed(self, choice: Choice, lanes: int) -> int | None:
        return None

    def choose(self, op: Any, inputs: Sequence[Tensor | None], outputs: Sequence[TensorType],
               lanes: int) -> Choice | Refusal:
        if any(t is not None and t.type.dtype is not DType.F32 for t in inputs):
            return Refusal(f"{op.op_type} is native for f32 only")
        assumed = [None if t is None else _assumed(t) for t in inputs]
        if self.shape(op, assumed) is None:
            return Refusal(f"{op.op_type} has no native form for operands that lie like these")
        return Choice("gemm", {}, (PLAIN,) * len(inputs), (PLAIN,))

    def launch(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
               lanes: int) -> Launch:
        shape = self.shape(op, inputs)
        if shape is None or any(t is not None and t.layout != PLAIN for t in [*inputs, *outputs]):
            raise PlanInvalid("gemm has no form for these operands")
        alpha, beta = self.scales(op)
        kind, p, q = epilogue(getattr(op, "activation", None))
        vectors = self.packed(choice, lanes)
        if vectors is None:
            return gemm.launch(shape, lanes, activation=kind, p=p, q=q, alpha=alpha, beta=beta)
        tile = gemm.choose_tile("rows", shape.m, shape.n, lanes, vectors)
        return gemm.launch(shape, lanes, "rows", tile, True, kind, p, q, alpha, beta)


class GemmLowering(_Product):
    """alpha * A' B' + beta * C. A small constant B is packed; a large one is read as fast as it lies in the file."""

    PACK_BYTES = 1 << 20

    def choose(self, op: Any, inputs: Sequence[Tensor | None], outputs: Sequence[TensorType],
               lanes: int) -> Choice | Refusal:
        choice, b = super().choose(op, inputs, outputs, lanes), inputs[1]
        assert b is not None
        if isinstance(choice, Refusal) or not b.constant or b.value is None or b.value.nbytes > self.PACK_BYTES:
            return choice
        m, n = (d if isinstance(d, int) else 1 for d in outputs[0].shape)
        return replace(choice, params={"packed": gemm.choose_tile("rows", m, n, lanes)[1]})

    def pack(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], index: int, lanes: int) -> Array:
        plain = super().pack(op, choice, inputs, index, lanes)
        if index != 1 or "packed" not in choice.params:
            return plain
        return gemm.pack_weights(plain.T if op.transB else plain, lanes, self.packed(choice, lanes) or 0)

    def packed(self, choice: Choice, lanes: int) -> int | None:
        """The vectors of a packed panel, None where B lies as it comes."""
        vectors = choice.params.get("packed")
        if vectors is not None and vectors not in {tile[1] for tile in gemm.ROWS_TILES[lanes]}:
            raise PlanInvalid(f"gemm has no panels of {vectors!r} vectors")
        return vectors

    def scales(self, op: Any) -> tuple[float, float]:
        return op.alpha, op.beta

    def shape(self, op: Any, inputs: Sequence[Tensor | None]) -> GemmShape | None:
        a, b, c = (*inputs, None)[:3]
        assert a is not None and b is not None
        (m, k), steps_a = _matrix(a.shape, op.transA)
        (_, n), steps_b = _matrix(b.shape, op.transB)
        shape = GemmShape(m, n, k, steps_a, steps_b, None if c is None else _bias_steps(c.shape))
        return shape if gemm.choose_form(shape) is not None else None


class MatMulLowering(_Product):
    """numpy.matmul with leading axes broadcast; up to three of them are not merged."""

    def shape(self, op: Any, inputs: Sequence[Tensor | None]) -> GemmShape | None:
        left, right = inputs[0], inputs[1]
        assert left is not None and right is not None
        a = left.shape if left.type.rank > 1 else (1, *left.shape)
        b = right.shape if right.type.rank > 1 else (*right.shape, 1)
        m, k, n = a[-2], a[-1], b[-1]
        batch = tuple(int(str(d)) for d in broadcast_shapes("MatMul", (a[:-2], b[:-2])))
        steps_a, steps_b = _batch_steps(a, batch), _batch_steps(b, batch)
        if batch and not any(steps_b) and tuple(a[:-2]) == batch:  # one B for all: the rows of all A are one tall A
            m, batch, steps_a, steps_b = m * math.prod(batch), (), (), ()
        batch, steps_a, steps_b = _merge(batch, steps_a, steps_b)
        if len(batch) > 3:
            return None
        shape = GemmShape(m, n, k, (k, 1), (n, 1), None, batch, steps_a, steps_b)
        return shape if gemm.choose_form(shape) is not None else None


def _assumed(t: Tensor) -> Tensor:
    """Any size will do to see whether there is a form: forms depend on distances' being 0 or 1 only."""
    shape = tuple(d if isinstance(d, int) else 2 for d in t.type.shape)
    return Tensor(TensorType(t.type.dtype, shape), t.layout, t.value, t.constant)


def _matrix(shape: Sequence[int], transposed: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of the matrix as it is multiplied, and the distances between them."""
    rows, columns = shape
    return ((columns, rows), (1, columns)) if transposed else ((rows, columns), (columns, 1))


def _bias_steps(shape: Sequence[int]) -> tuple[int, int]:
    """Distances in C along (m, n), 0 where it is broadcast."""
    rows, columns = (1,) * (2 - len(shape)) + tuple(shape)
    return (columns if rows > 1 else 0), (1 if columns > 1 else 0)


def _batch_steps(shape: Sequence[int], batch: Sequence[int]) -> tuple[int, ...]:
    """Elements between matrices along each batch axis, 0 where they are broadcast."""
    padded = (1,) * (len(batch) + 2 - len(shape)) + tuple(shape)
    return tuple(0 if padded[i] == 1 and batch[i] != 1 else math.prod(padded[i + 1:]) for i in range(len(batch)))


def _merge(batch: tuple[int, ...], a: tuple[int, ...],
           b: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Batch axes without those of size 1, neighbours merged where both operands walk evenly over them."""
    out: list[tuple[int, int, int]] = []
    for size, step_a, step_b in zip(batch, a, b, strict=True):
        if size == 1:
            continue
        if out and out[-1][1] == step_a * size and out[-1][2] == step_b * size:
            out[-1] = (out[-1][0] * size, step_a, step_b)
        else:
            out.append((size, step_a, step_b))
    return tuple(o[0] for o in out), tuple(o[1] for o in out), tuple(o[2] for o in out)
