"""verify(): a plan against ONNX Runtime on the model it was compiled from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError, ModelError, VerificationFailed
from .ir import DType, TensorType
from .plan import Plan
from .records import record
from .session import InferenceSession

if TYPE_CHECKING:
    import onnx

__all__ = ["Difference", "Report", "compare_arrays", "verify"]

Array = np.ndarray[Any, Any]

BATCHES = (1, 3, 2)  # sizes of a symbolic batch in turn, one a run


@record
class Difference:
    """How far one tensor is from ONNX Runtime's, over all runs.

    Attributes:
        shape: in the last run.
        largest: the largest absolute value of ONNX Runtime's tensor.
        error: the largest absolute difference over `largest`; infinite where NaN or infinities do not agree.
        top1: the share of rows whose largest element is at the same place; None unless it is a matrix of scores.
    """

    name: str
    shape: tuple[int, ...]
    largest: float
    error: float
    top1: float | None = None


@record
class Report:
    """The result of `verify`: a Difference for each output, and for each layer if they were asked for."""

    tolerance: float
    outputs: tuple[Difference, ...]
    layers: tuple[Difference, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every output is within the tolerance. Layers only tell where a difference arises."""
        return all(d.error <= self.tolerance for d in self.outputs)

    def check(self) -> None:
        """Raises VerificationFailed, naming the worst output, unless `passed`."""
        if self.passed:
            return
        worst = max(self.outputs, key=lambda d: d.error)
        first = next((d for d in self.layers if not d.error <= self.tolerance), None)
        hint = f"; the first layer to differ is '{first.name}'" if first else \
            "" if self.layers else "; compare layer by layer (layers=True, --layers) to see where it arises"
        raise VerificationFailed(f"the output '{worst.name}' differs from ONNX Runtime's by {worst.error:.2e} of its "
                                 f"largest value, more than the tolerance of {self.tolerance:g}{hint}")


def verify(plan: Plan | str | Path, model: str | Path | bytes | onnx.ModelProto, *,
           feeds: Mapping[str, Array] | None = None, seed: int = 0, runs: int = 1, tolerance: float = 1e-4,
           layers: bool = False, sizes: Mapping[str, int] | None = None,
           constants: Mapping[str, Any] | None = None, threads: int | None = None) -> Report:
    """Runs `plan` and, in ONNX Runtime, `model` on the same inputs and compares their outputs.

    Args:
        feeds: the inputs; by default random ones, floating point from a normal distribution.
        seed, runs: of the random inputs. A symbolic batch takes the sizes 1, 3, 2 in turn.
        tolerance: on each output's error (see Difference).
        layers: also compare every intermediate value of the model that the plan still computes under its name.
        sizes: of symbolic dimensions other than the batch.
        constants: contents of those inputs of the model that the plan was compiled with as constants.

    Raises:
        InputError: onnxruntime is missing, or a size is.
        ModelError: ONNX Runtime cannot load or run the model.
    """
    session = InferenceSession(plan, threads=threads)
    types = {port.name: session.plan.buffers[port.buffer].type for port in session.plan.inputs}
    tried = [feeds] if feeds is not None else list(_random_feeds(types, seed, runs, sizes or {}))
    computed = [_run(session, one, layers) for one in tried]
    outputs = [port.name for port in session.plan.outputs]
    names = [*outputs, *(name for name in computed[0] if name not in outputs and name not in types)]
    reference = _Reference(model, names, outputs, constants or {})
    differences: dict[str, Difference] = {}
    for one, found in zip(tried, computed, strict=True):
        for name, expected in reference.run(one).items():
            differences[name] = _merge(differences.get(name), compare_arrays(name, found[name], expected))
    return Report(tolerance, tuple(differences[n] for n in outputs),
                  tuple(d for n, d in differences.items() if n not in outputs))


def compare_arrays(name: str, found: Array, expected: Array) -> Difference:
    """The Difference of two arrays; one of another shape counts as infinitely far."""
    shape = tuple(expected.shape)
    if found.shape != expected.shape:
        return Difference(name, shape, 0.0, np.inf)
    if not expected.size:
        return Difference(name, shape, 0.0, 0.0)
    a, b = found.astype(np.float64), expected.astype(np.float64)
    plain = np.isfinite(b)
    largest = float(np.abs(b[plain]).max(initial=0.0))
    if not np.array_equal(a[~plain], b[~plain], equal_nan=True) or not np.isfinite(a[plain]).all():
        return Difference(name, shape, largest, np.inf)
    error = float(np.abs(a[plain] - b[plain]).max(initial=0.0))
    rows = [x.reshape(shape[0], -1) for x in (a, b)] if len(shape) >= 2 else []
    scores = bool(rows) and rows[0].shape[1] > 1 and rows[0].shape[1] == shape[1]
    top1 = float(np.mean(rows[0].argmax(1) == rows[1].argmax(1))) if scores else None
    return Difference(name, shape, largest, error / largest if largest else error, top1)


def _merge(old: Difference | None, new: Difference) -> Difference:
    if old is None:
        return new
    tops = [t for t in (old.top1, new.top1) if t is not None]
    return Difference(new.name, new.shape, max(old.largest, new.largest), max(old.error, new.error),
                      min(tops) if tops else None)


def _run(session: InferenceSession, feeds: Mapping[str, Array], layers: bool) -> dict[str, Array]:
    if layers:
        return session.run_all(feeds)
    return dict(zip((p.name for p in session.plan.outputs), session.run(None, feeds), strict=True))


class _Reference:
    """ONNX Runtime on the model, which is made to give the named intermediate values too, as far as it has them."""

    def __init__(self, model: str | Path | bytes | onnx.ModelProto, names: Sequence[str],
                 outputs: Sequence[str], constants: Mapping[str, Any]) -> None:
        try:
            import onnxruntime as ort
        except ImportError:
            raise InputError("verifying needs ONNX Runtime, which is not installed; pip install onnxruntime") from None
        options = ort.SessionOptions()
        options.log_severity_level = 3
        extended = list(names) != list(outputs)
        source = _with_outputs(model, names) if extended or not isinstance(model, (str, Path, bytes)) else model
        self._errors = Exception  # onnxruntime's own errors share no other base
        try:
            self._session = ort.InferenceSession(
                source if isinstance(source, bytes) else str(source), options, providers=["CPUExecutionProvider"])
        except self._errors as error:
            raise ModelError(f"ONNX Runtime cannot load {_describe(model)}: {_first_line(error)}") from None
        given = {o.name for o in self._session.get_outputs()}
        missing = [name for name in outputs if name not in given]
        if missing:
            raise InputError(f"{_describe(model)} has no output '{missing[0]}': the plan was compiled from another one")
        self._names = [name for name in names if name in given]
        types = {i.name: _NUMPY_TYPES.get(i.type) for i in self._session.get_inputs()}
        self._constants = {name: np.asarray(value, types.get(name)) for name, value in constants.items()}

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        try:
            results = self._session.run(self._names, self._constants | dict(feeds))
        except self._errors as error:
            raise ModelError(f"ONNX Runtime cannot run the model: {_first_line(error)}") from None
        return {name: r for name, r in zip(self._names, results, strict=True) if isinstance(r, np.ndarray)}


def _with_outputs(model: str | Path | bytes | onnx.ModelProto, names: Sequence[str]) -> bytes:
    """The model's bytes, with those of `names` that its nodes compute among its outputs."""
    import onnx

    if isinstance(model, bytes):
        proto = onnx.load_from_string(model)
    elif isinstance(model, (str, Path)):
        try:
            proto = onnx.load(str(model))
        except Exception as error:
            raise ModelError(f"{_describe(model)} cannot be read: {_first_line(error)}") from None
    else:
        proto = onnx.ModelProto()
        proto.CopyFrom(model)
    computed = {name for node in proto.graph.node for name in node.output}
    present = {output.name for output in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n in computed and n not in present)
    return bytes(proto.SerializeToString())


def _random_feeds(types: Mapping[str, TensorType], seed: int, runs: int,
                  sizes: Mapping[str, int]) -> Iterator[dict[str, Array]]:
    for run in range(runs):
        random = np.random.default_rng([seed, run])
        bound = dict(sizes)
        for type_ in types.values():
            if type_.rank and str(type_.shape[0]) in type_.symbols:
                bound.setdefault(str(type_.shape[0]), BATCHES[run % len(BATCHES)])
        feeds = {}
        for name, type_ in types.items():
            free = sorted(type_.symbols - bound.keys())
            if free:
                raise InputError(f"the input '{name}' has the shape [{','.join(map(str, type_.shape))}]: give a size "
                                 f"for {free[0]} (sizes={{'{free[0]}': ...}}, --shape {free[0]}=...) or inputs")
            feeds[name] = _random_array(random, type_.bind(bound))
        yield feeds


def _random_array(random: np.random.Generator, type_: TensorType) -> Array:
    shape, dtype = type_.static_shape, type_.dtype
    if dtype.is_float:
        return random.standard_normal(shape).astype(dtype.numpy)
    top = 2 if dtype.value == "bool" else 256 if dtype.value == "u8" else 8
    return random.integers(0, top, shape).astype(dtype.numpy)


_NUMPY_TYPES = {t.ort_name: t.numpy for t in DType}


def _describe(model: object) -> str:
    return f"the model '{model}'" if isinstance(model, (str, Path)) else "the model"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
