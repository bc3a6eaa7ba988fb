"""If, Loop and Scan: operators that run bodies.

A body is a graph of its own (in a plan, a plan). Its inputs are those that ONNX gives it, and behind them what it reads
of the graph around it, its captures, which are the last operands of the operator. Its symbols are its own: a body is
right for all sizes that its inputs' types allow, and `infer` puts the operands' sizes in their place.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ..errors import OpError
from ..ir import Dim, DimLike, DType, Op, Operand, TensorType, evaluate_dim, symbols_of, unknown
from ..ir.evaluate import evaluate_arrays
from ..records import record
from .dtypes import INDICES, check_dtype
from .sizes import agree, may_be_equal, resolve_axis

__all__ = ["CONTROL", "ControlOp", "If", "Loop", "Scan", "always_goes_on", "trip_count"]

Array = np.ndarray[Any, Any]
Call = Callable[[str, Sequence[Array]], Sequence[Array]]  # runs the body of this name
Sizes = dict[str, DimLike]


class ControlOp(Op):
    """An operator with bodies. `run` computes it, given a way to run a body.

    Operands from `first_capture` on are captures; input i of a body is operand i + operands_before.
    """

    results = ("outputs*",)
    operands_before: ClassVar[int] = 0
    first_capture: int

    @abstractmethod
    def body_sizes(self, name: str, operands: Sequence[Operand | None]) -> Sizes:
        """What the symbols of this body's inputs are for these operands, as far as they stand alone."""

    def reference(self, *arrays: Any, **_: Any) -> tuple[Array, ...]:
        return self.run(lambda name, inputs: evaluate_arrays(getattr(self, name), inputs), *arrays)

    @abstractmethod
    def run(self, call: Call, *arrays: Any) -> tuple[Array, ...]:
        """The outputs, from the operands."""


@record
class If(ControlOp):
    """ONNX If-11: what then_branch gives where cond is true, otherwise what else_branch gives. Both have the same
    inputs, all of them captures."""

    since = 11
    operands = ("cond", "captures*")
    body_fields = ("then_branch", "else_branch")
    operands_before = 1
    first_capture = 1

    then_branch: Any
    else_branch: Any

    def body_sizes(self, name: str, operands: Sequence[Operand | None]) -> Sizes:
        sizes: Sizes = {}
        _bind_all("If", getattr(self, name).signature[0], [o.type for o in operands[1:] if o is not None], sizes)
        return sizes

    def infer(self, cond: Operand, *captures: Operand) -> tuple[TensorType, ...]:
        _check_single("If", "cond", cond, (DType.BOOL,))
        then, other = (self._branch(name, cond, captures) for name in self.body_fields)
        if cond.value is not None:
            return then if cond.value.item() else other
        if len(then) != len(other):
            raise OpError(f"If: then_branch gives {len(then)} outputs, but else_branch {len(other)}")
        for a, b in zip(then, other, strict=True):
            if a.dtype != b.dtype or a.rank != b.rank:
                raise OpError(f"If: an output is {a} from then_branch, but {b} from else_branch: both must be of one "
                              "element type and rank")
        return tuple(TensorType(a.dtype, tuple(x if x == y else unknown(f"out{i}.{axis}") for axis, (x, y) in
                                               enumerate(zip(a.shape, b.shape, strict=True))))
                     for i, (a, b) in enumerate(zip(then, other, strict=True)))

    def _branch(self, name: str, cond: Operand, captures: Sequence[Operand]) -> tuple[TensorType, ...]:
        sizes = self.body_sizes(name, [cond, *captures])
        return tuple(_result(t, sizes) for t in getattr(self, name).signature[1])

    def run(self, call: Call, *arrays: Any) -> tuple[Array, ...]:
        cond, *captures = arrays
        return tuple(call("then_branch" if cond.item() else "else_branch", captures))


@record
class Loop(ControlOp):
    """ONNX Loop-11: the body again and again, at most M times and while cond holds; after the first time, cond is the
    body's first output.

    The first `carried` operands after M and cond are the values that pass from one time to the next; they are the
    first outputs, and the rest of what the body gives is stacked. The body's inputs are the number of the time (i64),
    cond, the values and the captures. Where cond is absent it holds to begin with.
    """

    since = 11
    operands = ("M?", "cond?", "v_initial*")
    body_fields = ("body",)

    body: Any
    carried: int = 0

    @property
    def first_capture(self) -> int:  # type: ignore[override]  # not settable
        return 2 + self.carried

    def body_sizes(self, name: str, operands: Sequence[Operand | None]) -> Sizes:
        inputs, outputs = self.body.signature
        return _repeated("Loop", inputs[2:], outputs[1:], [o.type for o in operands[2:] if o is not None],
                         self.carried)[2]

    def infer(self, m: Operand | None = None, cond: Operand | None = None, *rest: Operand) -> tuple[TensorType, ...]:
        if m is not None:
            _check_single("Loop", "M", m, INDICES)
        if cond is not None:
            _check_single("Loop", "cond", cond, (DType.BOOL,))
        inputs, outputs = self.body.signature
        if not 0 <= self.carried <= len(rest) or len(inputs) != 2 + len(rest) or len(outputs) < 1 + self.carried:
            raise OpError(f"Loop: a body with {len(inputs)} inputs and {len(outputs)} outputs does not fit "
                          f"{self.carried} values and {len(rest) - self.carried} captures")
        if inputs[0].dtype is not DType.I64 or inputs[1].dtype is not DType.BOOL or outputs[0].dtype is not DType.BOOL \
                or not all(may_be_equal(t.size, 1) for t in (*inputs[:2], outputs[0])):
            raise OpError("Loop: the body must take one i64 and one bool and give one bool first")
        states, stacked, _ = _repeated("Loop", inputs[2:], outputs[1:], [o.type for o in rest], self.carried)
        trips = trip_count(self, m, cond)
        return (*states, *(TensorType(t.dtype, (trips, *t.shape)) for t in stacked))

    def run(self, call: Call, *arrays: Any) -> tuple[Array, ...]:
        m, cond, *rest = (*arrays, None, None)[:max(2, len(arrays))]
        (step, flag, *_), outputs = self.body.signature
        values, captures = rest[:self.carried], rest[self.carried:]
        stacks: list[list[Array]] = [[] for _ in outputs[1 + self.carried:]]
        going = cond is None or bool(cond.item())
        holds, number = np.full((1,) * flag.rank, True), 0
        while going and (m is None or number < int(m.item())):
            now = np.array(number, np.int64, ndmin=step.rank)
            go_on, *found = call("body", [now, holds, *values, *captures])
            going, values = bool(go_on.item()), found[:self.carried]
            for stack, result in zip(stacks, found[self.carried:], strict=True):
                stack.append(result)
            number += 1
        if number == 0:
            return (*values, *_empty(self, arrays)[self.carried:])
        return (*values, *(np.stack(stack) for stack in stacks))


@record
class Scan(ControlOp):
    """ONNX Scan-11: the body once for each element of num_scan_inputs sequences, along scan_input_axes.

    The operands are `states` values that pass from one time to the next, the sequences, and the captures; the body's
    inputs are the values, an element of each sequence, and the captures. The outputs are the values, and what else the
    body gives, stacked along scan_output_axes. A direction of 1 goes backwards. ONNX's operator has no attribute
    `states`: it is the number of the other operands.
    """

    since = 11
    operands = ("initial_state_and_scan_inputs*",)
    body_fields = ("body",)

    body: Any
    num_scan_inputs: int
    states: int = 0
    scan_input_axes: tuple[int, ...] = ()
    scan_input_directions: tuple[int, ...] = ()
    scan_output_axes: tuple[int, ...] = ()
    scan_output_directions: tuple[int, ...] = ()

    def infer(self, *rest: Operand) -> tuple[TensorType, ...]:
        inputs, outputs = self.body.signature
        count = self.first_capture
        if self.num_scan_inputs < 1 or self.states < 0 or len(rest) < count or len(inputs) != len(rest) \
                or len(outputs) < self.states:
            raise OpError(f"Scan: a body with {len(inputs)} inputs and {len(outputs)} outputs does not fit "
                          f"{self.states} values, {self.num_scan_inputs} sequences and {len(rest) - count} captures")
        given, length = self._per_step(rest)
        states, stacked, _ = _repeated("Scan", inputs, outputs, given, self.states)
        _filled(self.scan_input_directions, self.num_scan_inputs, "scan_input_directions")
        _filled(self.scan_output_directions, len(stacked), "scan_output_directions")
        places = self.output_axes([t.rank for t in stacked])
        return (*states, *(TensorType(t.dtype, (*t.shape[:a], length, *t.shape[a:]))
                           for t, a in zip(stacked, places, strict=True)))

    @property
    def first_capture(self) -> int:  # type: ignore[override]  # not settable
        return self.states + self.num_scan_inputs

    def body_sizes(self, name: str, operands: Sequence[Operand | None]) -> Sizes:
        given, _ = self._per_step([o for o in operands if o is not None])
        inputs, outputs = self.body.signature
        return _repeated("Scan", inputs, outputs, given, self.states)[2]

    def _per_step(self, operands: Sequence[Operand]) -> tuple[list[TensorType], DimLike]:
        """What the body is given once, and the length of the sequences."""
        sequences = [o.type for o in operands[self.states:self.first_capture]]
        axes = self.input_axes([t.rank for t in sequences])
        length = agree([t.shape[a] for t, a in zip(sequences, axes, strict=True)])
        if length is None:
            raise OpError(f"Scan: the sequences {' and '.join(map(str, sequences))} differ in length")
        elements = [TensorType(t.dtype, (*t.shape[:a], *t.shape[a + 1:])) for t, a in zip(sequences, axes, strict=True)]
        states, captures = operands[:self.states], operands[self.first_capture:]
        return [*(o.type for o in states), *elements, *(o.type for o in captures)], length

    def input_axes(self, ranks: Sequence[int]) -> list[int]:
        """The axis of each sequence, from the sequences' ranks."""
        return [resolve_axis("Scan", a, rank) for a, rank in
                zip(_filled(self.scan_input_axes, len(ranks), "scan_input_axes"), ranks, strict=True)]

    def output_axes(self, ranks: Sequence[int]) -> list[int]:
        """The axis along which each result is stacked, from the ranks of what the body gives."""
        return [resolve_axis("Scan", a, rank + 1) for a, rank in
                zip(_filled(self.scan_output_axes, len(ranks), "scan_output_axes"), ranks, strict=True)]

    def run(self, call: Call, *arrays: Any) -> tuple[Array, ...]:
        count = self.first_capture
        values, sequences, captures = list(arrays[:self.states]), arrays[self.states:count], arrays[count:]
        outputs = self.body.signature[1][self.states:]
        stacks: list[list[Array]] = [[] for _ in outputs]
        axes = self.input_axes([s.ndim for s in sequences])
        backwards = _filled(self.scan_input_directions, len(sequences), "scan_input_directions")
        length = sequences[0].shape[axes[0]]
        for number in range(length):
            elements = [s.take(length - 1 - number if back else number, a)
                        for s, a, back in zip(sequences, axes, backwards, strict=True)]
            found = list(call("body", [*values, *elements, *captures]))
            values = found[:self.states]
            for stack, result in zip(stacks, found[self.states:], strict=True):
                stack.append(result)
        places = self.output_axes([t.rank for t in outputs])
        for stack, back in zip(stacks, _filled(self.scan_output_directions, len(stacks), "scan_output_directions"),
                               strict=True):
            stack[:] = stack[::-1] if back else stack
        if length == 0:
            return (*values, *_empty(self, arrays)[self.states:])
        return (*values, *(np.stack(stack, axis) for stack, axis in zip(stacks, places, strict=True)))


CONTROL: tuple[type[ControlOp], ...] = (If, Loop, Scan)


def trip_count(loop: Loop, m: Operand | None, cond: Operand | None) -> DimLike:
    """How often the body of a Loop runs: unknown unless M is, and the conditions are known to hold."""
    holds = cond is None or (cond.value is not None and bool(cond.value.item()))
    if m is None or m.value is None or not holds or not always_goes_on(loop.body):
        return unknown("trips")
    count: DimLike = m.value.item()
    return max(count, 0) if isinstance(count, int) else count


def always_goes_on(body: Any) -> bool:
    """Whether a Loop's body gives back the condition it gets, or a constant true."""
    given, constant = body.first_result(1)
    return bool(given or (constant is not None and constant.item()))


def _check_single(op_type: str, name: str, operand: Operand, accepted: Sequence[DType]) -> None:
    check_dtype(op_type, name, operand, tuple(accepted))
    if not may_be_equal(operand.type.size, 1):
        raise OpError(f"{op_type}: {name} must be one element, not {operand.type}")


def _filled(numbers: tuple[int, ...], count: int, name: str) -> tuple[int, ...]:
    if len(numbers) not in (0, count):
        raise OpError(f"Scan: {name} has {len(numbers)} numbers, but must have {count}")
    return numbers or (0,) * count


def _empty(op: Op, arrays: Sequence[Array | None]) -> list[Array]:
    """The outputs of a body that never ran, without elements."""
    types = op.infer(*(None if a is None else Operand(TensorType(DType.of(a.dtype), a.shape), a) for a in arrays))
    return [np.zeros([d if isinstance(d, int) else 0 for d in t.shape], t.dtype.numpy) for t in types]


# -- types -----------------------------------------------------------------------------------------------------------


def _repeated(op_type: str, inputs: Sequence[TensorType], outputs: Sequence[TensorType], given: Sequence[TensorType],
              states: int) -> tuple[list[TensorType], list[TensorType], Sizes]:
    """The types of the values that pass through a body that is run repeatedly, those of the other things it gives, and
    the sizes of its symbols.

    A size of such a value that is the same before and after the body is the operand's; others only a run tells.
    """
    sizes: Sizes = {}
    _bind_all(op_type, inputs[states:], given[states:], sizes)
    final = []
    for i, (before, after, start) in enumerate(zip(inputs, outputs[:states], given, strict=False)):
        if not (before.dtype == after.dtype == start.dtype and before.rank == after.rank == start.rank):
            raise OpError(f"{op_type}: a value that begins as {start} is {before} in the body and {after} after it: it "
                          "must keep its element type and rank")
        shape: list[DimLike] = []
        for axis, (b, a, s) in enumerate(zip(before.shape, after.shape, start.shape, strict=True)):
            shape.append(s if a == b else unknown(f"final{i}.{axis}"))
            _bind(op_type, b, s if a == b else unknown(f"during{i}.{axis}"), sizes)
        final.append(TensorType(start.dtype, tuple(shape)))
    return final, [_result(t, sizes) for t in outputs[states:]], sizes


def _bind_all(op_type: str, declared: Sequence[TensorType], given: Sequence[TensorType], sizes: Sizes) -> None:
    if len(declared) != len(given):
        raise OpError(f"{op_type}: the body has {len(declared)} inputs for {len(given)} operands")
    for d, g in zip(declared, given, strict=True):
        if d.dtype != g.dtype or d.rank != g.rank:
            raise OpError(f"{op_type}: the body takes {d}, but is given {g}")
        for a, b in zip(d.shape, g.shape, strict=True):
            _bind(op_type, a, b, sizes)


def _bind(op_type: str, declared: DimLike, given: DimLike, sizes: Sizes) -> None:
    """Notes the size of a symbol that stands alone; refuses sizes that cannot be equal."""
    name = str(declared)
    if isinstance(declared, Dim) and declared.terms == (((name,), 1),):
        declared = sizes.setdefault(name, given)
    if (isinstance(declared, int) or isinstance(given, Dim)) and not may_be_equal(declared, given):
        raise OpError(f"{op_type}: the body takes a size of {declared}, but is given {given}")


def _result(type_: TensorType, sizes: Sizes) -> TensorType:
    """A type that a body gives, with the sizes of its symbols; a size that is the body's own is unknown."""
    return TensorType(type_.dtype, tuple(
        evaluate_dim(d, {s: sizes.get(s, unknown(s)) for s in symbols_of(d)}) for d in type_.shape))
