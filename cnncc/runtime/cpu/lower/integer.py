"""Convolutions and matrix products of bytes on their kernels.

Weights and their zero points are constants. Unsigned weights, and signed ones whose zero point is not 0, become signed
ones around 0 where that fits into 8 bits; elsewhere the kernel adds up x under each window as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import Activation, DType, TensorType
from ....ops.integer_conv import clip_ends
from ....ops.quantize import quantized
from ....records import record
from ..conv_shape import ConvShape
from ..kernel import Launch, ceil_div
from ..kernels import conv_integer, conv_integer_depthwise, conv_integer_first, gemm_integer
from ..lowering import BLOCKED, PLAIN, Choice, Lowering, Refusal, Tensor
from .activation import epilogue
from .conv import assumed_shape, conv_shape

__all__ = ["LOWERINGS"]

Array = np.ndarray[Any, Any]
Inputs = Sequence[Tensor | None]


@record
class Roles:
    """The numbers of an operator's operands; None where it has none. `product`: the scale of the sums is x_scale times
    w_scale (divided by y_scale); else `w_scale` is all of it."""

    x: int
    w: int
    x_zero: int
    w_zero: int
    x_scale: int | None = None
    w_scale: int | None = None
    y_scale: int | None = None
    y_zero: int | None = None
    bias: int | None = None   # i32, added to the sums
    shift: int | None = None  # f32, added to the scaled sums


def _value(inputs: Inputs, index: int | None) -> Array | None:
    tensor = inputs[index] if index is not None and index < len(inputs) else None
    return None if tensor is None else tensor.value


def _present(inputs: Inputs, index: int | None) -> bool:
    return index is not None and index < len(inputs) and inputs[index] is not None


def signed_weights(w: Array, zeros: Array) -> tuple[Array, Array]:
    """Weights [OC, ...] as i8 and their zero points [OC], which are 0 if all differences fit into 8 bits."""
    column = zeros.astype(np.int32).reshape(-1, *(1,) * (w.ndim - 1))
    centred = w.astype(np.int32) - column
    if centred.size == 0 or (centred.min() >= -128 and centred.max() <= 127):
        return centred.astype(np.int8), np.zeros(w.shape[0], np.int32)
    shift = 128 if w.dtype == np.uint8 else 0
    return (w.astype(np.int32) - shift).astype(np.int8), np.broadcast_to(column.ravel() - shift, w.shape[:1])


class IntegerLowering(Lowering):
    """What convolutions and products share: roles of operands, constants for the kernel, the result's limits."""

    parameters = ("rows", "sums", "vectors")

    def __init__(self, roles: Roles) -> None:
        self.roles = roles
        words: list[str | None] = [None] * 10
        words[roles.x], words[roles.w], words[roles.x_zero] = self.names
        self.by_index = tuple(words)

    names: tuple[str, str, str] = ("x", "w", "zero")

    def words(self, inputs: Inputs) -> tuple[str | None, ...]:
        factor = self._dynamic_factor(inputs)
        return tuple("factor" if i == factor else w for i, w in enumerate(self.by_index[:len(inputs)]))

    # -- questions -----------------------------------------------------------------------------------------------------

    def refusal(self, op: Any, inputs: Inputs) -> Refusal | None:
        roles = self.roles
        constant = [roles.w, roles.w_zero, roles.w_scale, roles.y_scale, roles.y_zero, roles.bias, roles.shift]
        if self._dynamic_factor(inputs) == roles.w_scale:
            constant.remove(roles.w_scale)
        for i in constant:
            if _present(inputs, i) and _value(inputs, i) is None:
                return Refusal("weights, scales and biases must be constants")
        zero = inputs[roles.x_zero] if _present(inputs, roles.x_zero) else None
        if zero is not None and zero.type.shape not in ((), (1,)):
            return Refusal("the zero point of each row has no native kernel")
        scales = (inputs[i] for i in (roles.x_scale, roles.w_scale) if i is not None and _present(inputs, i))
        if any(t is not None and t.type.dtype is not DType.F32 for t in scales):
            return Refusal("scales are native in f32 only")
        x_scale = inputs[roles.x_scale] if _present(inputs, roles.x_scale) else None  # type: ignore[index]
        if x_scale is not None and x_scale.type.shape not in ((), (1,)):
            return Refusal("a scale of each row has no native kernel")
        if x_scale is not None and x_scale.value is None and self.result(inputs) != "f32":
            return Refusal("scales must be constants where the result is quantised")
        return None

    def _dynamic_factor(self, inputs: Inputs) -> int | None:
        """The operand with one scale that is known at run time only."""
        for i in (self.roles.x_scale, self.roles.w_scale):
            if i is not None and _present(inputs, i) and _value(inputs, i) is None:
                tensor = inputs[i]
                assert tensor is not None
                return i if tensor.type.shape in ((), (1,)) else None
        return None

    def refuses(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> str:
        refusal = self.refusal(op, inputs)
        return refusal.reason if refusal is not None else ""

    def result(self, inputs: Inputs) -> str:
        """The element type of the result."""
        roles = self.roles
        if _present(inputs, roles.y_zero):
            zero = inputs[roles.y_zero]  # type: ignore[index]
            assert zero is not None
            return zero.type.dtype.value
        return "f32" if _present(inputs, roles.w_scale) else "i32"

    def weights(self, op: Any, inputs: Inputs) -> tuple[Array, Array]:
        """(i8 [OC, ...], zero points [OC])."""
        w, zeros = _value(inputs, self.roles.w), _value(inputs, self.roles.w_zero)
        assert w is not None
        w = self.rows(op, w)
        zeros = np.zeros((), w.dtype) if zeros is None else zeros
        return signed_weights(w, np.broadcast_to(zeros.reshape(-1), w.shape[:1]))

    def rows(self, op: Any, w: Array) -> Array:
        """Weights with the output channels first."""
        return w

    def has_sums(self, op: Any, inputs: Inputs) -> bool:
        """Whether weights are left with zero points that are not 0."""
        w, zeros = _value(inputs, self.roles.w), _value(inputs, self.roles.w_zero)
        signed = w is not None and w.dtype == np.int8 and (zeros is None or not zeros.any())
        return not signed and bool(self.weights(op, inputs)[1].any())

    # -- constants -----------------------------------------------------------------------------------------------------

    def channels(self, op: Any, inputs: Inputs) -> dict[str, Array]:
        """What the kernel reads for each output channel, [OC]."""
        roles, (w, zeros) = self.roles, self.weights(op, inputs)
        flat = w.reshape(w.shape[0], -1).astype(np.int64)
        out = {"zeros": zeros, "weight_sums": flat.sum(1) - self.count(op, inputs, w) * zeros.astype(np.int64)}
        bias = _value(inputs, roles.bias)
        out["bias"] = np.zeros(w.shape[0], np.int64) if bias is None else \
            np.broadcast_to(bias.astype(np.int64).reshape(-1), w.shape[:1])
        out = {name: values.astype(np.int32) for name, values in out.items()}
        shift = _value(inputs, roles.shift)
        out["shift"] = np.zeros(w.shape[0], np.float32) if shift is None else shift.astype(np.float32)
        out["scale"] = np.broadcast_to(self.multiplier(op, inputs).reshape(-1), w.shape[:1])
        return out

    def count(self, op: Any, inputs: Inputs, w: Array) -> int:
        """The products of a sum, those of taps that are added to fill groups included."""
        return math.prod(w.shape[1:])

    def multiplier(self, op: Any, inputs: Inputs) -> Array:
        """x_scale * w_scale / y_scale from the left in single precision; what is not known now is the factor."""
        roles = self.roles
        found = np.ones((), np.float32)
        alpha = getattr(op, "alpha", 1.0)
        for number in (np.float32(alpha), _value(inputs, roles.x_scale), _value(inputs, roles.w_scale)):
            if number is not None:
                found = np.asarray(found * (number.reshape(()) if number.size == 1 else number.reshape(-1)))
        y_scale = _value(inputs, roles.y_scale)
        return np.asarray(found if y_scale is None else found / y_scale.reshape(()), np.float32)

    def limits(self, op: Any, inputs: Inputs) -> tuple[str, float, float, int]:
        """The activation and its parameters, or the ends of rounded numbers before the zero point is added."""
        activation: Activation | None = getattr(op, "activation", None)
        result = self.result(inputs)
        if result in ("f32", "i32"):
            return (*epilogue(activation), 0)
        scale, zero = _value(inputs, self.roles.y_scale), _value(inputs, self.roles.y_zero)
        assert scale is not None and zero is not None
        zero = zero.reshape(())
        info = np.iinfo(zero.dtype)
        ends = [int(info.min), int(info.max)]
        if activation is not None:
            with np.errstate(all="ignore"):
                ends = [int(quantized(np.asarray(end, np.float32), scale.reshape(()), zero, zero.dtype))
                        for end in clip_ends(activation)]
        return "clip", float(ends[0] - int(zero)), float(ends[1] - int(zero)), int(zero)

    def pack(self, op: Any, choice: Choice, inputs: Inputs, index: int, lanes: int) -> Array:
        tensor = inputs[index]
        assert tensor is not None and tensor.value is not None
        return self.pack_weights(op, choice, inputs, lanes) if index == self.roles.w else \
            np.ascontiguousarray(tensor.value)

    def pack_weights(self, op: Any, choice: Choice, inputs: Inputs, lanes: int) -> Array:
        raise NotImplementedError  # abstract

    def pack_channels(self, op: Any, choice: Choice, inputs: Inputs, values: Array, lanes: int) -> Array:
        raise NotImplementedError  # abstract

    def extra(self, op: Any, choice: Choice, inputs: Inputs, lanes: int) -> dict[str, Array]:
        out = {name: self.pack_channels(op, choice, inputs, values, lanes)
               for name, values in self.channels(op, inputs).items()}
        if self._dynamic_factor(inputs) is None:
            out["factor"] = np.ones(1, np.float32)
        if not _present(inputs, self.roles.x_zero):
            out["zero"] = np.zeros(1, np.uint8)
        return out


def _tile(choice: Choice, tiles: Sequence[Any]) -> tuple[tuple[int, int], bool]:
    """The register tile and whether there are sums, as the plan has them."""
    rows, vectors, sums = (choice.params.get(n) for n in ("rows", "vectors", "sums"))
    if sums not in (0, 1) or (rows, vectors) not in tiles[int(sums)]:
        raise PlanInvalid(f"there is no register tile of {rows!r} rows, {vectors!r} vectors and {sums!r} sums")
    return (int(rows), int(vectors)), bool(sums)  # type: ignore[arg-type]


class ConvLowering(IntegerLowering):
    """Blocked bytes to blocked results."""

    def refusal(self, op: Any, inputs: Inputs) -> Refusal | None:
        x = inputs[self.roles.x]
        if x is not None and x.type.rank > 5:
            return Refusal(f"convolutions are native for up to 3 spatial axes, not {x.type.rank - 2}")
        w = inputs[self.roles.w]
        if w is not None and 0 in w.shape:
            return Refusal("there are no channels")
        return super().refusal(op, inputs)

    def shape(self, op: Any, inputs: Inputs) -> ConvShape:
        x, w = inputs[self.roles.x], inputs[self.roles.w]
        assert x is not None and w is not None
        return conv_shape(op, assumed_shape(x.type.shape), w.shape)

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        x, refusal = inputs[self.roles.x], self.refusal(op, inputs)
        if refusal is not None:
            return refusal
        assert x is not None
        sums = self.has_sums(op, inputs)
        layouts = [PLAIN] * len(inputs)
        layouts[self.roles.x] = BLOCKED
        if conv_integer_depthwise.supports(self.shape(op, inputs)):
            name = conv_integer_depthwise.KERNEL.name
            return Choice(name, {"sums": int(sums)}, tuple(layouts), (BLOCKED,))
        rows, vectors = conv_integer.tile_of(conv_integer.merged(self.shape(op, inputs), lanes), lanes, sums)
        if x.layout == PLAIN and conv_integer_first.supports(self.shape(op, inputs)):
            layouts[self.roles.x] = PLAIN
            name = conv_integer_first.KERNEL.name
            return Choice(name, {"rows": rows, "vectors": vectors, "sums": int(sums)}, tuple(layouts), (BLOCKED,))
        return Choice(conv_integer.KERNEL.name, {"rows": rows, "vectors": vectors, "sums": int(sums)}, tuple(layouts),
                      (BLOCKED,))

    def count(self, op: Any, inputs: Inputs, w: Array) -> int:
        shape = self.shape(op, inputs)
        if not conv_integer_depthwise.supports(shape):
            return super().count(op, inputs, w)
        return shape.kernel[0] * ceil_div(shape.kernel[1], 4) * 4 * shape.kernel[2]

    def pack_weights(self, op: Any, choice: Choice, inputs: Inputs, lanes: int) -> Array:
        w, zeros = self.weights(op, inputs)
        if choice.kernel == conv_integer_depthwise.KERNEL.name:
            return conv_integer_depthwise.pack_weights(w, lanes)
        (_, vectors), sums = _tile(choice, conv_integer.TILES[lanes])
        if choice.kernel == conv_integer_first.KERNEL.name:
            return conv_integer_first.pack_weights(w, lanes, vectors, sums)
        groups = conv_integer.merged(self.shape(op, inputs), lanes).groups
        wide = conv_integer.merge_weights(w, zeros.astype(np.int8), op.group, groups)
        return conv_integer.pack_weights(wide, groups, lanes, vectors, sums)

    def pack_channels(self, op: Any, choice: Choice, inputs: Inputs, values: Array, lanes: int) -> Array:
        if choice.kernel == conv_integer_depthwise.KERNEL.name:
            return conv_integer.pack_channels(values, 1, lanes, 1)
        (_, vectors), _ = _tile(choice, conv_integer.TILES[lanes])
        groups = conv_integer.merged(self.shape(op, inputs), lanes).groups
        return conv_integer.pack_channels(values, groups, lanes, vectors)

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        x, y = inputs[self.roles.x], outputs[0]
        assert x is not None
        first = choice.kernel == conv_integer_first.KERNEL.name
        if self.refusal(op, inputs) is not None or (x.layout, y.layout) != (PLAIN if first else BLOCKED, BLOCKED):
            raise PlanInvalid(f"{op.op_type} has no kernel for these operands")
        sums, shape = choice.params.get("sums"), self.shape(op, inputs)
        if sums != int(self.has_sums(op, inputs)):
            raise PlanInvalid(f"{op.op_type} {'lacks' if sums else 'has'} zero points that need sums of x")
        source, result = x.type.dtype.value, self.result(inputs)
        kind, a, b, zero = self.limits(op, inputs)
        if choice.kernel == conv_integer_depthwise.KERNEL.name:
            if not conv_integer_depthwise.supports(shape):
                raise PlanInvalid(f"conv_integer_depthwise cannot run {shape.groups} groups")
            return conv_integer_depthwise.launch(shape, lanes, source, result, bool(sums), kind, a, b, zero)
        tile, _ = _tile(choice, conv_integer.TILES[lanes])
        if first:
            if not conv_integer_first.supports(shape):
                raise PlanInvalid(f"conv_integer_first cannot run {shape.channels} channels")
            return conv_integer_first.launch(shape, lanes, tile, source, result, bool(sums), kind, a, b, zero)
        return conv_integer.launch(conv_integer.merged(shape, lanes), lanes, tile, source, result, bool(sums), kind, a,
                                   b, zero)


class ProductLowering(IntegerLowering):
    """A plain, of any rank, times one constant matrix B."""

    names = ("a", "b", "zero")

    def rows(self, op: Any, w: Array) -> Array:
        return w if getattr(op, "transB", False) else w.T

    def refusal(self, op: Any, inputs: Inputs) -> Refusal | None:
        a, b = inputs[self.roles.x], inputs[self.roles.w]
        assert a is not None and b is not None
        if getattr(op, "transA", False):
            return Refusal("a transposed A has no native kernel")
        if b.type.rank != 2:
            return Refusal("B must be one matrix")
        bias = inputs[self.roles.bias] if _present(inputs, self.roles.bias) else None  # type: ignore[index]
        if bias is not None and any(d != 1 for d in bias.type.shape[:-1]):
            return Refusal("C must have one number for each column")
        return super().refusal(op, inputs)

    def sizes(self, op: Any, inputs: Inputs) -> tuple[int, int, int]:
        """(M, N, K), symbolic sizes of A taken as 1."""
        a, b = inputs[self.roles.x], inputs[self.roles.w]
        assert a is not None and b is not None
        k, n = b.shape[::-1] if getattr(op, "transB", False) else b.shape
        return math.prod(d if isinstance(d, int) else 1 for d in a.type.shape[:-1]), n, k

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        refusal = self.refusal(op, inputs)
        if refusal is not None:
            return refusal
        m, n, _ = self.sizes(op, inputs)
        sums = self.has_sums(op, inputs)
        rows, vectors = gemm_integer.tile_of(m, n, lanes, sums)
        return Choice(gemm_integer.KERNEL.name, {"rows": rows, "vectors": vectors, "sums": int(sums)},
                      (PLAIN,) * len(inputs))

    def pack_weights(self, op: Any, choice: Choice, inputs: Inputs, lanes: int) -> Array:
        (_, vectors), sums = _tile(choice, gemm_integer.TILES[lanes])
        return gemm_integer.pack_weights(self.weights(op, inputs)[0].T, lanes, vectors, sums)

    def pack_channels(self, op: Any, choice: Choice, inputs: Inputs, values: Array, lanes: int) -> Array:
        (_, vectors), _ = _tile(choice, gemm_integer.TILES[lanes])
        return conv_integer.pack_channels(values, 1, lanes, vectors)

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        a, y = inputs[self.roles.x], outputs[0]
        assert a is not None
        if self.refusal(op, inputs) is not None or a.layout != PLAIN or y.layout != PLAIN:
            raise PlanInvalid(f"{op.op_type} has no kernel for these operands")
        tile, sums = _tile(choice, gemm_integer.TILES[lanes])
        if sums != self.has_sums(op, inputs):
            raise PlanInvalid(f"{op.op_type} {'lacks' if sums else 'has'} zero points that need sums of A")
        kind, low, high, zero = self.limits(op, inputs)
        return gemm_integer.launch(*self.sizes(op, inputs), lanes, tile, a.type.dtype.value, self.result(inputs), sums,
                                   kind, low, high, zero)


LOWERINGS: dict[str, Lowering] = {
    "ConvInteger": ConvLowering(Roles(x=0, w=1, x_zero=2, w_zero=3, w_scale=4, shift=5)),
    "QLinearConv": ConvLowering(Roles(x=0, x_scale=1, x_zero=2, w=3, w_scale=4, w_zero=5, y_scale=6, y_zero=7, bias=8)),
    "MatMulInteger": ProductLowering(Roles(x=0, w=1, x_zero=2, w_zero=3)),
    "MatMulIntegerToFloat": ProductLowering(Roles(x=0, w=1, x_scale=2, w_scale=3, x_zero=4, w_zero=5, shift=6)),
    "QGemm": ProductLowering(Roles(x=0, x_scale=1, x_zero=2, w=3, w_scale=4, w_zero=5, bias=6, y_scale=7, y_zero=8)),
    "QLinearMatMul": ProductLowering(Roles(x=0, x_scale=1, x_zero=2, w=3, w_scale=4, w_zero=5, y_scale=6, y_zero=7)),
}
