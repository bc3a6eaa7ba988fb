"""Runs one operator on its native kernel, as a plan would, with every byte outside the declared ranges guarded."""

import itertools
from dataclasses import dataclass

import numpy as np

from cnncc.ir import DType, Op, Operand, TensorType
from cnncc.runtime.cpu import native
from cnncc.runtime.cpu.kernel import Launch
from cnncc.runtime.cpu.lower.table import LOWERINGS
from cnncc.runtime.cpu.lowering import BLOCKED, PLAIN, Choice, Lowering, Refusal, Tensor, stored_elements
from tests.runtime.cpu.guard import CANARY, Guarded, run_guarded
from tests.runtime.cpu.harness import from_blocked, to_blocked


@dataclass
class Setting:
    """How to run: vector length, threads, whether results may lie over inputs, at which guard page operands lie."""

    lanes: int = 16
    threads: int = 1
    inplace: bool = False
    at_start: bool = False


def tensors_of(arrays, constants=(), layouts=None) -> list[Tensor | None]:
    layouts = layouts or [PLAIN] * len(arrays)
    return [
        None if a is None else Tensor(
            TensorType(DType.of(a.dtype), a.shape), layouts[i], a if i in constants else None, i in constants)
        for i, a in enumerate(arrays)
    ]  # fmt: skip


def choose(op: Op, tensors, lanes: int, count: int) -> tuple[Choice | Refusal, list[TensorType]]:
    """The lowering's choice; asked again with the layouts it wanted, it must stay with it."""
    types = list(op.infer(*(None if t is None else Operand(t.type, t.value) for t in tensors)))[:count]
    lowering = LOWERINGS.get(op.op_type)
    if lowering is None:
        return Refusal("no lowering"), types
    choice = lowering.choose(op, tensors, types, lanes)
    if isinstance(choice, Choice):
        wanted = [*choice.inputs, *[PLAIN] * len(tensors)][: len(tensors)]
        again = [
            None if t is None else Tensor(t.type, PLAIN if t.constant else w, t.value, t.constant)
            for t, w in zip(tensors, wanted, strict=True)
        ]
        assert lowering.choose(op, again, types, lanes) == choice
        tensors[:] = again
    return choice, types


def stored(array: np.ndarray, layout: str, lanes: int) -> np.ndarray:
    return to_blocked(array, lanes) if layout == BLOCKED else np.ascontiguousarray(array)


@dataclass
class Prepared:
    """An operator's step, ready but for its memory."""

    lowering: Lowering
    choice: Choice
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    launch: Launch


def prepare(op: Op, arrays, constants=(), layouts=None, lanes: int = 16, outputs: int = 1,
            choice: Choice | None = None) -> Prepared | Refusal:
    tensors = tensors_of(arrays, constants, layouts)
    if choice is None:
        choice, types = choose(op, tensors, lanes, outputs)
    else:
        types = op.infer(*(None if t is None else Operand(t.type, t.value) for t in tensors))
    if isinstance(choice, Refusal):
        return choice
    lowering = LOWERINGS[op.op_type]
    results = [Tensor(t, choice.outputs[i]) for i, t in enumerate(types)]
    return Prepared(lowering, choice, tensors, results, lowering.launch(op, choice, tensors, results, lanes))


def run_lowered(op: Op, arrays, constants=(), layouts=None, setting=None, outputs=1,
                choice: Choice | None = None) -> list[np.ndarray] | Refusal:
    """The operator's outputs from its native kernel, in plain layout; or why it has none. ``choice`` forces a kernel.

    Inputs and the surplus of blocked buffers stay as they were, and nothing outside the launch's ranges is touched.
    """
    setting = setting or Setting()
    lanes = setting.lanes
    step = prepare(op, arrays, constants, layouts, lanes, outputs, choice)
    if isinstance(step, Refusal):
        return step
    lowering, tensors, results = step.lowering, step.inputs, step.outputs
    operands = place_inputs(lowering, op, step.choice, tensors, arrays, setting)
    overwritten = lowering.inplace(tensors, results)
    for i, (word, tensor) in enumerate(zip(lowering.output_words, results, strict=False)):
        if setting.inplace and i == 0 and overwritten:
            operands[word] = operands[lowering.words(tensors)[overwritten[-1]]]
        else:
            size = stored_elements(tensor.shape, tensor.layout, lanes) * tensor.type.dtype.itemsize
            operands[word] = Guarded(bytes([CANARY]) * size, setting.at_start)
    run_guarded(step.launch, operands, setting.threads, setting.at_start)
    return [unstored(t, operands[word], lanes) for t, word in zip(results, lowering.output_words, strict=False)]


def place_inputs(lowering, op, choice, tensors, arrays, setting: Setting) -> dict[str, Guarded]:
    lanes, at_start = setting.lanes, setting.at_start
    operands = {name: Guarded(a, at_start) for name, a in lowering.extra(op, choice, tensors, lanes).items()}
    for i, word in enumerate(lowering.words(tensors)):
        if word is not None and tensors[i] is not None:
            operands[word] = Guarded(
                np.ascontiguousarray(lowering.pack(op, choice, tensors, i, lanes)) if tensors[i].constant
                else stored(arrays[i], tensors[i].layout, lanes), at_start)  # fmt: skip
    return operands


def unstored(tensor: Tensor, guarded: Guarded, lanes: int) -> np.ndarray:
    data = guarded.data.copy().view(tensor.type.dtype.numpy)
    if tensor.layout == PLAIN:
        return data.reshape(tensor.shape)
    n, c, *spatial = tensor.shape
    return np.ascontiguousarray(from_blocked(data.reshape(n, -(-c // lanes), *spatial, lanes), c))


def layouts_to_try(arrays, constants=()) -> list[list[str]]:
    """All inputs plain; all that can be blocked so; and one of these alone."""
    able = [
        i for i, a in enumerate(arrays)
        if a is not None and i not in constants and a.dtype == np.float32 and a.ndim >= 3
    ]  # fmt: skip
    sets = {(), tuple(able), tuple(able[:1]), tuple(able[1:2])}
    return [[BLOCKED if i in chosen else PLAIN for i in range(len(arrays))] for chosen in sorted(sets)]


def kernels_of(op: Op, arrays, constants=(), outputs: int = 1, lanes: int = 16) -> list[native.Key]:
    """The kernels of `all_runs`."""
    steps = [prepare(op, arrays, constants, layouts, lanes, outputs) for layouts in layouts_to_try(arrays, constants)]
    return [step.launch.key for step in steps if isinstance(step, Prepared)]


def all_runs(op: Op, arrays, constants=(), outputs=1, lanes=(16,), threads=(1,)) -> list[list[np.ndarray]] | Refusal:
    """The outputs for every layout of the inputs; in place, with operands that begin at a guard page, and not so."""
    found = []
    for width, layouts, count, inplace in itertools.product(lanes, layouts_to_try(arrays, constants), threads, (0, 1)):
        got = run_lowered(op, arrays, constants, layouts, Setting(width, count, bool(inplace), bool(inplace)), outputs)
        if isinstance(got, Refusal):
            return got
        found.append(got)
    return found
