"""Elementwise operators: arithmetic, comparisons, logic, activations, conversions, unfused BatchNormalization.

If an operand of the output's shape is blocked, all of them are: operands that have one number a channel, an image or
altogether are broadcast within the kernel. Otherwise everything is plain, and any broadcasting is native.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ....errors import PlanInvalid
from ....ir import DimLike, DType, Op, TensorType
from ....ops.activation import ActivationOp
from ....records import record
from ..kernel import Launch
from ..kernels import elementwise
from ..lowering import BLOCKED, PLAIN, Choice, Lowering, Refusal, Tensor, to_blocked
from .activation import epilogue
from .layouts import BLOCKABLE, can_block, expect_layouts

__all__ = ["LOWERINGS", "Formula"]

Array = np.ndarray[Any, Any]
Inputs = Sequence[Tensor | None]
MAX_RANK = elementwise.OUTER + 1
_SINGLE = (DType.F32, DType.F16)


@record
class Formula:
    """A row of runtime/cpu/formulas.py and its parameters."""

    name: str
    p: float = 0.0
    q: float = 0.0


Rule = Callable[[Any, Inputs], Formula | Refusal]


class ElementwiseLowering(Lowering):
    """`rule` gives the formula for an operator and its inputs, or why there is none."""

    overwritable: ClassVar[tuple[int, ...] | None] = None

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def used(self, inputs: Inputs) -> list[int]:
        """The inputs that the kernel reads; the others are known, or absent."""
        return [i for i, t in enumerate(inputs) if t is not None]

    def words(self, inputs: Inputs) -> tuple[str | None, ...]:
        names = dict(zip(self.used(inputs), elementwise.INPUTS, strict=False))
        return tuple(names.get(i) for i in range(len(inputs)))

    def choose(self, op: Op, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        formula = self.rule(op, inputs)
        if isinstance(formula, Refusal):
            return formula
        if len(self.used(inputs)) > len(elementwise.INPUTS):
            return Refusal(f"at most {len(elementwise.INPUTS)} inputs are native")
        read = self._read(inputs)
        layouts = _blocked_layouts(read, outputs[0])
        if layouts is None:
            if elementwise.plain_view([_assumed(t.type) for t in read], _assumed(outputs[0])) is None:
                return Refusal(f"after merging, the broadcast has more than {MAX_RANK} axes")
            layouts = [PLAIN] * len(read)
        wanted = [PLAIN] * len(inputs)
        for i, layout in zip(self.used(inputs), layouts, strict=True):
            wanted[i] = layout
        result = BLOCKED if BLOCKED in layouts else PLAIN
        return Choice(elementwise.KERNEL.name, inputs=tuple(wanted), outputs=(result,))

    def _read(self, inputs: Inputs) -> list[Tensor]:
        return [t for t in (inputs[i] for i in self.used(inputs)) if t is not None]

    def launch(self, op: Op, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        formula, y, read = self.rule(op, inputs), outputs[0], self._read(inputs)
        if isinstance(formula, Refusal):
            raise PlanInvalid(f"{op.op_type}: {formula.reason}")
        if y.layout == BLOCKED:
            layouts = _blocked_layouts(read, y.type)
            expect_layouts(op, [*read, y], [*(layouts or [PLAIN] * len(read)), BLOCKED if layouts else PLAIN])
            stored = [(t.shape, layout == BLOCKED) for t, layout in zip(read, layouts or [], strict=True)]
            view = elementwise.blocked_view(stored, y.shape, lanes)
        else:
            expect_layouts(op, [*read, y], [PLAIN] * (len(read) + 1))
            found = elementwise.plain_view([t.shape for t in read], y.shape)
            if found is None:
                raise PlanInvalid(f"{op.op_type}: after merging, the broadcast has more than {MAX_RANK} axes")
            view = found
        types = [t.type.dtype.value for t in read]
        return elementwise.launch(formula.name, types, y.type.dtype.value, lanes, view, formula.p, formula.q)

    def pack(self, op: Op, choice: Choice, inputs: Inputs, index: int, lanes: int) -> Array:
        """A constant that is as large as an image of a blocked output is blocked too; others stay as they are."""
        tensor = inputs[index]
        assert tensor is not None and tensor.value is not None
        return self._stored(np.ascontiguousarray(tensor.value), choice, inputs, lanes)

    def _stored(self, value: Array, choice: Choice, inputs: Inputs, lanes: int) -> Array:
        shape = np.broadcast_shapes(*(t.shape for t in self._read(inputs)))
        padded = value.reshape((1,) * (len(shape) - value.ndim) + value.shape)
        large = choice.outputs[0] == BLOCKED and padded.shape[1:] == shape[1:]
        return to_blocked(padded, lanes) if large else value


def _assumed(type_: TensorType) -> tuple[int, ...]:
    """Any size above 1 will do for symbolic ones: which axes merge depends on where 1 stands against more."""
    return tuple(d if isinstance(d, int) else 2 for d in type_.shape)


def _blocked_layouts(read: Sequence[Tensor], y: TensorType) -> list[str] | None:
    """The layouts of the operands for a blocked output; None if it cannot be so, or need not because none of the
    operands as large as it is."""
    if not can_block(y) or any(t.type.dtype not in BLOCKABLE for t in read):
        return None
    layouts = []
    for t in read:
        shape: tuple[DimLike, ...] = (1,) * (y.rank - t.type.rank) + t.type.shape
        large = shape[1:] == y.shape[1:] and shape[0] in (1, y.shape[0])
        small = shape[0] in (1, y.shape[0]) and shape[1] in (1, y.shape[1]) and all(d == 1 for d in shape[2:])
        aligned = t.type.rank == y.rank  # otherwise what is its channel axis is another one of the output
        if not (small or (large and (t.constant or aligned))):
            return None
        if small and not t.constant:
            layouts.append(t.layout if aligned else PLAIN)
        else:
            layouts.append(BLOCKED if large else PLAIN)
    given = any(t.layout == BLOCKED and t.type.shape == y.shape and not t.constant for t in read)
    return layouts if given else None


# -- rules -------------------------------------------------------------------------------------------------------------


def _always(name: str, dtypes: tuple[DType, ...] = tuple(DType)) -> ElementwiseLowering:
    def rule(op: Op, inputs: Inputs) -> Formula | Refusal:
        first = inputs[0]
        assert first is not None
        if first.type.dtype not in dtypes:
            return Refusal(f"it is native for {', '.join(t.value for t in dtypes)} only, not {first.type.dtype.value}")
        return Formula(name)

    return ElementwiseLowering(rule)


def _activation(op: ActivationOp, inputs: Inputs) -> Formula | Refusal:
    x = inputs[0]
    assert x is not None
    activation = op.as_activation(*inputs) if op.op_type != "PRelu" else None  # type: ignore[arg-type]
    if x.type.dtype not in _SINGLE:
        plain = {"Relu": "relu", "PRelu": "prelu"}.get(op.op_type)
        return Formula(plain) if plain else Refusal(f"it is native for f32 and f16 only, not {x.type.dtype.value}")
    if activation is not None:
        return Formula(*epilogue(activation))
    alpha: float = getattr(op, "alpha", 0.0)
    return Formula({"ThresholdedRelu": "thresholded"}.get(op.op_type, op.op_type.lower()), alpha)


class _Clip(ElementwiseLowering):
    """With known bounds, the activation; else the bounds are operands."""

    def __init__(self) -> None:
        super().__init__(self._rule)

    def used(self, inputs: Inputs) -> list[int]:
        return [0] if _known_bounds(inputs) else super().used(inputs)

    def _rule(self, op: Any, inputs: Inputs) -> Formula | Refusal:
        low, high = (*inputs, None, None)[1:3]
        if _known_bounds(inputs):
            return Formula(*epilogue(op.as_activation(*inputs)))
        if low is None and high is None:
            return Formula("max")  # of one operand: a copy
        return Formula("above" if high is None else "below" if low is None else "between")


def _known_bounds(inputs: Inputs) -> bool:
    x = inputs[0]
    assert x is not None
    return x.type.dtype in _SINGLE and all(t is None or t.value is not None for t in inputs[1:])


_KNOWN_POWERS = {2.0: "square", 3.0: "cube", 0.5: "sqrt"}


class _Pow(ElementwiseLowering):
    """Squares, cubes and roots where the exponent is known."""

    def __init__(self) -> None:
        super().__init__(self._rule)

    def used(self, inputs: Inputs) -> list[int]:
        return [0] if self._special(inputs) else [0, 1]

    def _special(self, inputs: Inputs) -> str | None:
        x, y = inputs[0], inputs[1]
        assert x is not None and y is not None
        if y.value is None or y.value.size != 1 or y.type.rank > x.type.rank or y.value.dtype == object:
            return None
        name = _KNOWN_POWERS.get(float(y.value.reshape(-1)[0]))
        return None if name == "sqrt" and not x.type.dtype.is_float else name

    def _rule(self, op: Any, inputs: Inputs) -> Formula | Refusal:
        x = inputs[0]
        assert x is not None
        special = self._special(inputs)
        if special:
            return Formula(special)
        if not x.type.dtype.is_float:
            return Refusal("of integers, only known squares and cubes are native")
        return Formula("pow")


class _BatchNormalization(ElementwiseLowering):
    """x * s + t with s = scale / sqrt(var + epsilon) and t = B - mean * s, computed in double precision when packed;
    then the activation."""

    def __init__(self) -> None:
        super().__init__(self._rule)

    def used(self, inputs: Inputs) -> list[int]:
        return [0, 1, 2]

    def _read(self, inputs: Inputs) -> list[Tensor]:
        x = inputs[0]
        assert x is not None
        shape = (x.type.shape[1] if x.type.rank > 1 else 1, *(1,) * (x.type.rank - 2))
        line = Tensor(TensorType(x.type.dtype, shape), PLAIN, None, True)
        return [x, line, line]

    def _rule(self, op: Any, inputs: Inputs) -> Formula | Refusal:
        if any(t is None or t.value is None for t in inputs[1:]):
            return Refusal("scale, B, input_mean and input_var must be constants")
        if op.activation is None:
            return Formula("affine")
        x = inputs[0]
        assert x is not None
        if x.type.dtype not in _SINGLE:
            return Refusal(f"its activation is native for f32 and f16 only, not {x.type.dtype.value}")
        kind, p, q = epilogue(op.activation)
        return Formula(f"affine_{kind}", p, q)

    def pack(self, op: Any, choice: Choice, inputs: Inputs, index: int, lanes: int) -> Array:
        x = inputs[0]
        assert x is not None
        scale, bias, mean, variance = (np.asarray(t.value, np.float64) for t in inputs[1:] if t is not None)
        with np.errstate(all="ignore"):  # a variance below zero gives NaN
            factor = scale / np.sqrt(variance + op.epsilon)
            packed: Array = (factor if index == 1 else bias - mean * factor).astype(x.type.dtype.numpy)
        return self._stored(packed.reshape(-1, *(1,) * (x.type.rank - 2)), choice, inputs, lanes)


def _modulo(op: Any, inputs: Inputs) -> Formula | Refusal:
    return Formula("remainder" if op.fmod else "modulo")


def _shift(op: Any, inputs: Inputs) -> Formula | Refusal:
    return Formula("shift_left" if op.direction == "LEFT" else "shift_right")


def _infinite(op: Any, inputs: Inputs) -> Formula | Refusal:
    if op.detect_negative and op.detect_positive:
        return Formula("is_inf")
    if not (op.detect_negative or op.detect_positive):
        return Refusal("it detects nothing")
    return Formula("is_plus_inf" if op.detect_positive else "is_minus_inf")


class _CastLike(ElementwiseLowering):
    def used(self, inputs: Inputs) -> list[int]:
        return [0]


LOWERINGS: dict[str, Lowering] = {
    **{name: ElementwiseLowering(_activation) for name in (
        "Celu", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Relu", "Selu", "Sigmoid",
        "Softplus", "Softsign", "Swish", "Tanh", "ThresholdedRelu")},
    "Abs": _always("abs"),
    "Add": _always("add"),
    "And": _always("and"),
    "BatchNormalization": _BatchNormalization(),
    "BitShift": ElementwiseLowering(_shift),
    "BitwiseAnd": _always("and"),
    "BitwiseNot": _always("not_bits"),
    "BitwiseOr": _always("or"),
    "BitwiseXor": _always("xor"),
    "Cast": _always("cast"),
    "CastLike": _CastLike(lambda op, inputs: Formula("cast")),
    "Ceil": _always("ceil"),
    "Clip": _Clip(),
    "Cos": _always("cos"),
    "Div": _always("div"),
    "Equal": _always("equal"),
    "Erf": _always("erf", _SINGLE),
    "Exp": _always("exp"),
    "Floor": _always("floor"),
    "Greater": _always("greater"),
    "GreaterOrEqual": _always("greater_or_equal"),
    "IsInf": ElementwiseLowering(_infinite),
    "IsNaN": _always("is_nan"),
    "Less": _always("less"),
    "LessOrEqual": _always("less_or_equal"),
    "Log": _always("log"),
    "Max": _always("max"),
    "Mean": _always("mean"),
    "Min": _always("min"),
    "Mod": ElementwiseLowering(_modulo),
    "Mul": _always("mul"),
    "Neg": _always("neg"),
    "Not": _always("not"),
    "Or": _always("or"),
    "Pow": _Pow(),
    "Reciprocal": _always("reciprocal"),
    "Round": _always("round"),
    "Sign": _always("sign"),
    "Sin": _always("sin"),
    "Sqrt": _always("sqrt"),
    "Sub": _always("sub"),
    "Sum": _always("add"),
    "Where": _always("where"),
    "Xor": _always("xor"),
}
