"""InferenceSession: a plan made ready to run, with the calls of onnxruntime.InferenceSession."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .errors import InputError
from .feeds import as_array, normalise
from .ir import TensorType
from .plan import Plan, Port
from .records import record

if TYPE_CHECKING:
    from .profile import Profile
    from .runtime.cuda.device_array import DeviceArray

__all__ = ["InferenceSession", "NodeArg"]

Array = np.ndarray[Any, Any]
ndarray, new_array = np.ndarray, np.empty


@record
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
        providers: where it may run: "CPU" or "CUDA", also by onnxruntime's names (docs/cuda.md). A plan runs on the
            target that it was compiled for; by default that is allowed.

    A session may be called from many threads at once; each call has its own memory. It may be used in a forked child,
    and pickled: where it was opened from a file, as the file's path and checksum, otherwise with the whole plan. The
    `plan` of a session that was opened from a file lacks the weights that are in memory in the form of their kernels.
    """

    def __init__(self, plan: Plan | str | Path, *, threads: int | None = None,
                 providers: Sequence[str] | None = None) -> None:
        from .environment import thread_count
        from .runtime.cpu.regions import private_inputs

        given = isinstance(plan, Plan)
        if not isinstance(plan, (Plan, str, os.PathLike)):
            raise InputError(f"a session needs a Plan or the path of a plan file, not {type(plan).__name__}")
        self._path = None if isinstance(plan, Plan) else os.path.abspath(plan)
        self.plan = plan if isinstance(plan, Plan) else Plan.load(plan)
        _check_providers(self.plan, providers)
        self.threads = thread_count(threads)
        self._runner: Any = _runner_of(self.plan.target)(self.plan, self.threads, owns_weights=not given)
        if self._runner.released:
            kept = {n: w for n, w in self.plan.weights.items() if n not in self._runner.released}
            self.plan = dataclasses.replace(self.plan, weights=kept)
        self._inputs = {port.name: number for number, port in enumerate(self.plan.inputs)}
        private = private_inputs(self.plan)
        types = [(port.name, self.plan.buffers[port.buffer].type) for port in self.plan.inputs]
        # No array has the element type None: of the inputs that have it here, a run has a copy of its own.
        self._expected = [(name, None if name in private else type_.dtype.numpy,
                           type_.static_shape if self.plan.is_static else None, type_) for name, type_ in types]
        self._output_numbers = {port.name: number for number, port in enumerate(self.plan.outputs)}
        self._is_dynamic = self.plan.is_dynamic
        # Where there is but one binding, nothing need be noted of its use.
        self._pool = next(iter(self._runner.pools.values())) if self.plan.is_static else None

    def __reduce__(self) -> tuple[Any, ...]:
        if self._path is None:
            return _from_plan, (type(self), self.plan, self.threads)
        return _from_file, (type(self), self._path, self.plan.checksum, self.threads)

    # -- what the model takes and gives --------------------------------------------------------------------------

    def get_inputs(self) -> list[NodeArg]:
        return [self._node_arg(port) for port in self.plan.inputs]

    def get_outputs(self) -> list[NodeArg]:
        return [self._node_arg(port) for port in self.plan.outputs]

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"] if self.plan.target == "cpu" else ["CUDAExecutionProvider"]

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
        if self._is_dynamic:
            outputs = self._runner.run(inputs)
        else:
            pool = self._pool or self._runner.pool(inputs)
            outputs = [new_array(shape, dtype) for shape, dtype in pool.results]
            context = pool.take()
            try:
                context.run(inputs, outputs)
            finally:
                pool.give(context)
        return outputs if wanted is None else [outputs[n] for n in wanted]

    def run_on_device(self, feeds: Mapping[str, Any], outputs: Mapping[str, Any] | None = None) -> list[DeviceArray]:
        """Like `run`, of a plan for CUDA, but all outputs stay in the device's memory: as arrays that other libraries
        take through `__cuda_array_interface__` or DLPack, complete when this returns.

        Args:
            feeds: arrays in the device's memory, which are read where they lie, or NumPy's.
            outputs: arrays in the device's memory, by output, to write to; for others new ones are made.
        """
        from .runtime.cuda.device_array import as_device_array, empty

        if self.plan.target != "cuda":
            raise InputError("the plan was compiled for the CPU: to keep outputs on a GPU, compile the model with "
                             "target='cuda'")
        inputs, given = self._check_feeds(feeds), outputs or {}
        self._wanted(list(given))
        found = []
        for port, (shape, dtype) in zip(self.plan.outputs, self._runner.pool(inputs).results, strict=True):
            array = as_device_array(given[port.name]) if port.name in given else empty(shape, dtype)
            if array.shape != shape or array.dtype != dtype:
                raise InputError(f"the output '{port.name}' is {dtype}{list(shape)}, but the array given for it "
                                 f"{array.dtype}{list(array.shape)}")
            found.append(array)
        self._runner.run_into(inputs, found)
        return found

    def run_all(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """What every step computes, by the name of the value, for finding where two runtimes part."""
        found: dict[str, Array] = self._runner.run_each(self._check_feeds(feeds))
        return found

    def profile(self, feeds: Mapping[str, Any], runs: int = 20) -> Profile:
        """How long every step takes: medians over `runs` runs, after two that do not count."""
        from .runtime.cpu.profiling import profile

        return profile(self._runner, self._check_feeds(feeds), runs)

    def _wanted(self, names: Sequence[str]) -> list[int]:
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise InputError(f"output_names must be a list of names or None, not {names!r}")
        names = list(names)
        for name in names:
            if not isinstance(name, str) or name not in self._output_numbers:
                raise InputError(f"the model has no output '{name}'{_suggest(name, self._output_numbers)}; "
                                 f"it has {_names(self._output_numbers)}")
        return [self._output_numbers[name] for name in names]

    def _check_feeds(self, feeds: Mapping[str, Any]) -> list[Array]:
        try:
            inputs = [feeds[name] for name in self._inputs]
        except (KeyError, TypeError, IndexError):
            self._explain_names(feeds)
        if len(feeds) != len(inputs):
            self._explain_names(feeds)
        for number, (name, dtype, shape, type_) in enumerate(self._expected):
            array = inputs[number]
            if type(array) is not ndarray:
                array = inputs[number] = self._foreign(name, array, type_)
                if type(array) is not ndarray:
                    continue
            # Contiguous, aligned and writable are one look. A shape that may vary is looked at where it is bound.
            if array.dtype is not dtype or not array.flags.carray or (array.shape != shape and shape is not None):
                inputs[number] = normalise(name, array, type_, copy=dtype is None)
        return inputs

    def _foreign(self, name: str, value: Any, type_: TensorType) -> Any:
        """What is no NumPy array: one in a GPU's memory as it is, anything else as an array."""
        if isinstance(value, ndarray) or not (
                hasattr(value, "__cuda_array_interface__") or hasattr(value, "__dlpack_device__")):
            return as_array(name, value)
        from .runtime.cpu.runner import check_shape
        from .runtime.cuda.device_array import as_device_array, is_device_array

        if not is_device_array(value):
            return as_array(name, value)
        if self.plan.target != "cuda":
            raise InputError(f"the input '{name}' lies in a GPU's memory, but the plan was compiled for the CPU: copy "
                             "it to the CPU, or compile the model with target='cuda'")
        array = as_device_array(value)
        if array.dtype != type_.dtype.numpy:
            raise InputError(f"the input '{name}' must be of type {type_.dtype.value} ({type_.dtype.numpy}), but is "
                             f"{array.dtype}: convert it")
        check_shape(name, array.shape, type_)
        return array

    def _explain_names(self, feeds: Mapping[str, Any]) -> NoReturn:
        if not isinstance(feeds, Mapping):
            raise InputError(f"the feeds must be a dict of an array for each input ({_names(self._inputs)}), not "
                             f"{type(feeds).__name__}")
        for name in feeds:
            if name not in self._inputs:
                raise InputError(f"the model has no input '{name}'{_suggest(name, self._inputs)}; "
                                 f"it has {_names(self._inputs)}")
        missing = [name for name in self._inputs if name not in feeds]
        if not missing:
            raise InputError(f"the feeds ({type(feeds).__name__}) do not give what they name: use a dict")
        type_ = self._expected[self._inputs[missing[0]]][2]
        raise InputError(f"no array was given for the input '{missing[0]}' of type {type_}: add it to the feeds")


def _from_plan(kind: type[InferenceSession], plan: Plan, threads: int) -> InferenceSession:
    return kind(plan, threads=threads)


def _from_file(kind: type[InferenceSession], path: str, checksum: str, threads: int) -> InferenceSession:
    session = kind(path, threads=threads)
    if session.plan.checksum != checksum:
        raise InputError(f"the plan '{path}' is not the one that the pickled session was opened from: it was replaced "
                         "since; open it again and pickle that session")
    return session


_TARGETS = {"CPU": "cpu", "CPUExecutionProvider": "cpu", "CUDA": "cuda", "CUDAExecutionProvider": "cuda"}


def _check_providers(plan: Plan, providers: Sequence[Any] | None) -> None:
    """Raises InputError unless the plan's target is among the providers, which may be (name, options) as in ORT."""
    if providers is None:
        return
    names = [p[0] if isinstance(p, tuple) else p for p in providers]
    unknown = next((n for n in names if n not in _TARGETS), None)
    if unknown is not None:
        raise InputError(f"there is no provider '{unknown}': it is one of {', '.join(_TARGETS)}")
    if plan.target not in {_TARGETS[n] for n in names}:
        raise InputError(f"the plan '{plan.name}' was compiled for the target {plan.target}, which is not among the "
                         f"providers {', '.join(names) or '(none)'}: compile the model for another target, or allow it")


def _runner_of(target: str) -> Any:
    """The class that runs plans for a target."""
    if target == "cpu":
        from .runtime.cpu.runner import Runner

        return Runner
    from .runtime.cuda.runner import Runner as CudaRunner

    return CudaRunner


def _suggest(name: object, known: Mapping[str, Any]) -> str:
    import difflib  # an error may take its time

    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _names(known: Mapping[str, Any]) -> str:
    return ", ".join(f"'{n}'" for n in list(known)[:8]) + (", ..." if len(known) > 8 else "")
