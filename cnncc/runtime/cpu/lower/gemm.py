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

__all__ = ["LOWERINGS", "GemmLowering", "MatMulLowering"]

Array = np.ndarray[Any, Any]


class _Product(Lowering):
    """A constant B that many rows multiply is packed; for few rows a large one is read as fast as it lies in the file.

    R is read where the result is written, so the result may take over its memory.
    """

    PACK_BYTES = 1 << 20
    ASSUMED_ROWS = 1  # where the number of rows is symbolic
    input_words = ("a", "b", "c", "r")
    overwritable = (3,)
    parameters = ("packed",)

    def shape(self, op: Any, inputs: Sequence[Tensor | None]) -> GemmShape | None:
        """The product's sizes and distances in memory; None where the kernel has no form for them."""
        raise NotImplementedError  # abstract

    def scales(self, op: Any) -> tuple[float, float]:
        return 1.0, 1.0

    def matrix(self, op: Any, b: Tensor) -> Array | None:
        """The constant B as [K, N]; None where it is not one matrix, known now."""
        raise NotImplementedError  # abstract

    def packed(self, choice: Choice, lanes: int) -> int | None:
        """The vectors of a packed panel, None where B lies as it comes."""
        vectors = choice.params.get("packed")
        if vectors is not None and vectors not in {tile[1] for tile in gemm.ROWS_TILES[lanes]}:
            raise PlanInvalid(f"gemm has no panels of {vectors!r} vectors")
        return vectors

    def choose(self, op: Any, inputs: Sequence[Tensor | None], outputs: Sequence[TensorType],
               lanes: int) -> Choice | Refusal:
        if any(t is not None and t.type.dtype is not DType.F32 for t in inputs):
            return Refusal(f"{op.op_type} is native for f32 only")
        assumed = [None if t is None else _assumed(t) for t in inputs]
        if self.shape(op, assumed) is None:
            return Refusal(f"{op.op_type} has no native form for operands that lie like these")
        choice, b = Choice("gemm", {}, (PLAIN,) * len(inputs), (PLAIN,)), inputs[1]
        assert b is not None
        w = self.matrix(op, b)
        rows = math.prod(d if isinstance(d, int) else self.ASSUMED_ROWS for d in outputs[0].shape[:-1])
        if w is None or (w.nbytes > self.PACK_BYTES and rows < gemm.COPY_ROWS):
            return choice
        return replace(choice, params={"packed": gemm.choose_tile("rows", rows, w.shape[1], lanes)[1]})

    def pack(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], index: int, lanes: int) -> Array:
        vectors, b = self.packed(choice, lanes), inputs[1]
        if index != 1 or vectors is None or b is None:
            return super().pack(op, choice, inputs, index, lanes)
        w = self.matrix(op, b)
        if w is None:
            raise PlanInvalid(f"{op.op_type}: only one constant matrix can be packed")
        return gemm.pack_weights(w, lanes, vectors)

    def launch(self, op: Any, choice: Choice, inputs: Sequence[Tensor | None], outputs: Sequence[Tensor],
               lanes: int) -> Launch:
        shape = self.shape(op, inputs)
        if shape is None or any(t is not None and t.layout != PLAIN for t in [*inputs, *outputs]):
            raise PlanInvalid("gemm has no form for these operands")
        alpha, beta = self.scales(op)
        kind, p, q = epilogue(getattr(op, "activation", None))
        residual = len(inputs) > 3 and inputs[3] is not None
        vectors = self.packed(choice, lanes)
        if vectors is None:
            return gemm.launch(shape, lanes, activation=kind, p=p, q=q, alpha=alpha, beta=beta, residual=residual)
        if inputs[1] is None or shape.batch or self.matrix(op, inputs[1]) is None:
            raise PlanInvalid("gemm packs one constant matrix B for all")
        tile = gemm.choose_tile("rows", shape.m, shape.n, lanes, vectors)
        return gemm.launch(shape, lanes, "rows", tile, True, kind, p, q, alpha, beta, residual)


class GemmLowering(_Product):
    """alpha * A' B' + beta * C + R."""

    def matrix(self, op: Any, b: Tensor) -> Array | None:
        if not b.constant or b.value is None:
            return None
        return b.value.T if op.transB else b.value

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
    """numpy.matmul with leading axes broadcast, plus C and R; up to three leading axes are not merged."""

    ASSUMED_ROWS = 64

    def matrix(self, op: Any, b: Tensor) -> Array | None:
        return b.value if b.constant and b.value is not None and b.type.rank == 2 else None

    def shape(self, op: Any, inputs: Sequence[Tensor | None]) -> GemmShape | None:
        left, right, c = (*inputs, None)[:3]
        assert left is not None and right is not None
        a = left.shape if left.type.rank > 1 else (1, *left.shape)
        b = right.shape if right.type.rank > 1 else (*right.shape, 1)
        m, k, n = a[-2], a[-1], b[-1]
        batch = tuple(int(str(d)) for d in broadcast_shapes("MatMul", (a[:-2], b[:-2])))
        batch, steps_a, steps_b = _merge(batch, _batch_steps(a, batch), _batch_steps(b, batch))
        if steps_b == (0,) and steps_a == (m * k,):  # one B for all: the rows of all A are one tall A
            m, batch, steps_a, steps_b = m * batch[0], (), (), ()
        if len(batch) > 3:
            return None
        shape = GemmShape(m, n, k, (k, 1), (n, 1), None if c is None else (0, 1), batch, steps_a, steps_b,
                          (0,) * len(batch))
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


LOWERINGS: dict[str, Lowering] = {"Gemm": GemmLowering(), "MatMul": MatMulLowering()}
