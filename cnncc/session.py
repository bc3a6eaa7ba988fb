"""InferenceSession: a plan made ready to run, with the calls of onnxruntime.InferenceSession."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError
from .ir import DType, TensorType, evaluate_dim, solve_dim
from .plan import Plan, Port

if TYPE_CHECKING:
    from .profile import Profile
    from .runtime.cpu.execution import Context, Prepared

__all__ = ["InferenceSession", "NodeArg", "check_feed"]

Array = np.ndarray[Any, Any]
MAX_BINDINGS = 16  # sizes of inputs whose memory plans are kept


@dataclass(frozen=True, slots=True)
class NodeArg:
    """An input or output of the model. `shape` holds ints, and strings for symbolic dimensions; `type` is spelled as
    onnxruntime does, such as `tensor(float)`."""

    name: str
    shape: list[int | str]
    type: str


class InferenceSession:
    """Runs a plan.

    Args:
        plan: a plan, or the path of a plan file.
        threads: how many to use; by default `CNNCC_NUM_THREADS` or as many CPUs as this process may use.
        providers: accepted for the sake of onnxruntime's callers; only the CPU is there.

    A session may be called from many threads at once; each call has its own memory.
    """

    def __init__(self, plan: Plan | str | Path, *, threads: int | None = None,
                 providers: Sequence[str] | None = None) -> None:
        from .environment import thread_count

        self.plan = plan if isinstance(plan, Plan) else Plan.load(plan)
        self.threads = thread_count(threads)
        self._lock = threading.Lock()
        self._packed: dict[int, dict[str, Array]] = {}  # by executed step: constants that depend on no size
        self._inputs = {port.name: number for number, port in enumerate(self.plan.inputs)}
        self._types = [self.plan.buffers[port.buffer].type for port in self.plan.inputs]
        self._output_numbers = {port.name: number for number, port in enumerate(self.plan.outputs)}
        self._pools: dict[tuple[tuple[int, ...], ...], _Pool] = {}  # by the inputs' shapes
        if self.plan.is_static:
            self._pool([np.empty(t.static_shape, t.dtype.numpy) for t in self._types])

    # -- what the model takes and gives --------------------------------------------------------------------------

    def get_inputs(self) -> list[NodeArg]:
        return [self._node_arg(port) for port in self.plan.inputs]

    def get_outputs(self) -> list[NodeArg]:
        return [self._node_arg(port) for port in self.plan.outputs]

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]

    def _node_arg(self, port: Port) -> NodeArg:
        type_ = self.plan.buffers[port.buffer].type
        return NodeArg(port.name, [d if isinstance(d, int) else str(d) for d in type_.shape], type_.dtype.ort_name)

    # -- running -------------------------------------------------------------------------------------------------

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any],
            run_options: object = None) -> list[Array]:
        """The named outputs (all of them for None), as new arrays.

        Args:
            feeds: an array for each input, of its element type; the shapes must fit those of get_inputs().

        Raises:
            InputError: a feed is missing, misnamed, or of the wrong type or shape, or an output has no such name.
        """
        wanted = None if output_names is None else self._wanted(output_names)
        inputs = self._check_feeds(feeds)
        pool = self._pools.get(tuple([array.shape for array in inputs])) or self._pool(inputs)
        outputs = [np.empty(shape, dtype) for shape, dtype in pool.results]
        context = pool.take()
        try:
            context.run(inputs, outputs)
        finally:
            pool.give(context)
        return outputs if wanted is None else [outputs[n] for n in wanted]

    def run_all(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """What every step computes, by the name of the value, for finding where two runtimes part."""
        inputs = self._check_feeds(feeds)
        pool = self._pools.get(tuple([array.shape for array in inputs])) or self._pool(inputs)
        outputs = [np.empty(shape, dtype) for shape, dtype in pool.results]
        context = pool.take()
        try:
            found = context.run_each(inputs, outputs)
        finally:
            pool.give(context)
        return found | {port.name: array for port, array in zip(self.plan.outputs, outputs, strict=True)}

    def profile(self, feeds: Mapping[str, Any], runs: int = 20) -> Profile:
        """How long every step takes: medians over `runs` runs, after two that do not count."""
        from .runtime.cpu.profiling import profile

        inputs = self._check_feeds(feeds)
        pool = self._pools.get(tuple([array.shape for array in inputs])) or self._pool(inputs)
        outputs = [np.empty(shape, dtype) for shape, dtype in pool.results]
        context = pool.take()
        try:
            return profile(context, inputs, outputs, runs)
        finally:
            pool.give(context)

    def _wanted(self, names: Sequence[str]) -> list[int]:
        for name in names:
            if name not in self._output_numbers:
                raise InputError(f"the model has no output '{name}'{_suggest(name, self._output_numbers)}; "
                                 f"it has {_names(self._output_numbers)}")
        return [self._output_numbers[name] for name in names]

    def _check_feeds(self, feeds: Mapping[str, Any]) -> list[Array]:
        if len(feeds) != len(self._inputs) or any(name not in self._inputs for name in feeds):
            self._explain_names(feeds)
        inputs = []
        for name, number in self._inputs.items():
            type_ = self._types[number]
            array = feeds[name]
            if not isinstance(array, np.ndarray):
                array = np.asarray(array)
            if array.dtype != type_.dtype.numpy or not array.flags.c_contiguous or not array.flags.aligned:
                array = _normalise(name, array, type_)
            inputs.append(array)
        return inputs

    def _explain_names(self, feeds: Mapping[str, Any]) -> None:
        for name in feeds:
            if name not in self._inputs:
                raise InputError(f"the model has no input '{name}'{_suggest(name, self._inputs)}; "
                                 f"it has {_names(self._inputs)}")
        missing = [name for name in self._inputs if name not in feeds]
        type_ = self._types[self._inputs[missing[0]]]
        raise InputError(f"no array was given for the input '{missing[0]}' of type {type_}: add it to the feeds")

    def _symbols(self, inputs: Sequence[Array]) -> tuple[int, ...]:
        """The sizes of the symbolic dimensions, in the order of plan.symbols."""
        sizes: dict[str, int] = {}
        for array, type_, port in zip(inputs, self._types, self.plan.inputs, strict=True):
            for axis, (d, size) in enumerate(zip(type_.shape, array.shape, strict=True)):
                name, value = solve_dim(d, size) or ("", 0)
                if name and sizes.setdefault(name, value) != value:
                    raise InputError(f"the dimension {name} is {sizes[name]} in one input, but {value} on axis {axis} "
                                     f"of the input '{port.name}': they must be equal")
        for array, type_, port in zip(inputs, self._types, self.plan.inputs, strict=True):
            for axis, (d, size) in enumerate(zip(type_.shape, array.shape, strict=True)):
                if evaluate_dim(d, sizes) != size:
                    wanted = " = ".join(dict.fromkeys([str(d), str(evaluate_dim(d, sizes))]))
                    raise InputError(f"axis {axis} of the input '{port.name}' must be {wanted}, but is {size}")
        return tuple(sizes[s] for s in self.plan.symbols)

    def _pool(self, inputs: Sequence[Array]) -> _Pool:
        """The contexts for inputs of these shapes; made once, the first ones made being dropped beyond MAX_BINDINGS."""
        for array, type_, port in zip(inputs, self._types, self.plan.inputs, strict=True):
            _check_shape(port.name, array.shape, type_)
        sizes = self._symbols(inputs)
        shapes = tuple(array.shape for array in inputs)
        with self._lock:
            if shapes not in self._pools:
                self._pools[shapes] = _Pool(self._prepare(dict(zip(self.plan.symbols, sizes, strict=True))))
                if len(self._pools) > MAX_BINDINGS:
                    del self._pools[next(iter(self._pools))]
            return self._pools[shapes]

    def _prepare(self, symbols: Mapping[str, int]) -> Prepared:
        from .runtime.cpu.binding import bind, constant_operands
        from .runtime.cpu.execution import Prepared

        binding = bind(self.plan, symbols)
        constants = []
        for number, bound in enumerate(binding.steps):
            words = self._packed.get(number)
            if words is None:
                words = constant_operands(self.plan, binding, bound)
                if all(b is None or b in self.plan.weights or b not in binding.values for b in bound.step.inputs):
                    self._packed[number] = words
            constants.append(words)
        return Prepared(self.plan, binding, constants, self.threads)


class _Pool:
    """Idle contexts for one binding; a run takes one, or makes one where all are busy."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self._idle: list[Context] = []
        types = [prepared.binding.types[port.buffer] for port in prepared.plan.outputs]
        self.results = [(t.static_shape, t.dtype.numpy) for t in types]

    def take(self) -> Context:
        from .runtime.cpu.execution import Context

        try:
            return self._idle.pop()  # atomic under the GIL
        except IndexError:
            return Context(self._prepared)

    def give(self, context: Context) -> None:
        if len(self._idle) < self._prepared.threads * 4:
            self._idle.append(context)


def check_feed(name: str, array: Array, type_: TensorType) -> Array:
    """The array as a run takes it, for an input of this type, which may be symbolic. Raises InputError where its
    element type or its shape does not fit."""
    array = _normalise(name, array, type_)
    _check_shape(name, array.shape, type_)
    return array


def _normalise(name: str, array: Array, type_: TensorType) -> Array:
    """The array in native byte order and C order; raises InputError where its element type is another one."""
    if array.dtype.newbyteorder("=") != type_.dtype.numpy:
        try:
            given = DType.of(array.dtype).value
        except Exception:
            given = str(array.dtype)
        raise InputError(f"the input '{name}' must be of type {type_.dtype.value} ({type_.dtype.numpy}), but is "
                         f"{given}: convert it with .astype('{type_.dtype.numpy}')")
    return np.require(array, dtype=type_.dtype.numpy, requirements=["C", "A"])


def _check_shape(name: str, shape: tuple[int, ...], type_: TensorType) -> None:
    fits = len(shape) == type_.rank and all(
        not isinstance(want, int) or want == size for want, size in zip(type_.shape, shape, strict=True))
    if not fits:
        wanted = ",".join(map(str, type_.shape))
        raise InputError(f"the input '{name}' must have the shape [{wanted}], but has "
                         f"[{','.join(map(str, shape))}]")


def _suggest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _names(known: Mapping[str, Any]) -> str:
    return ", ".join(f"'{n}'" for n in list(known)[:8]) + (", ..." if len(known) > 8 else "")
