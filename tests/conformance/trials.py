"""The tests that the onnx package brings along, each run through cnncc.backend and judged.

A trial passes if all outputs of all its data sets are right, by the tolerances of onnx's own runner. It is excluded if
exclusions.toml lists it and cnncc refuses it by the name that is given there. (Where the list disputes the expected
outputs, cnncc's must be ONNX Runtime's.) Anything else is a failure: a wrong answer, another error, a refusal that
nothing is said of, and a listed trial that passes.
"""

from __future__ import annotations

import fnmatch
import functools
import re
import tomllib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.runner import Runner

import cnncc.backend
from cnncc.errors import UnsupportedError
from cnncc.frontends import load_graph
from cnncc.ir import evaluate

__all__ = ["SUITES", "Group", "Outcome", "Trial", "groups", "judge", "load"]

Array = np.ndarray[Any, Any]
DataSets = Sequence[tuple[Sequence[Any], Sequence[Any]]]

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
SUITES = ("node", "simple", "pytorch-converted", "pytorch-operator", "light")

# onnx's tolerance is one unit in the last place of a float16, and its expected outputs are sums in float16; cnncc's are
# rounded once. Two units leave room for both.
HALF_RTOL = 2 * float(np.finfo(np.float16).eps)


@dataclass(frozen=True)
class Trial:
    """One test: a model, made when asked for, and pairs of inputs and expected outputs."""

    suite: str
    name: str
    model: Callable[[], onnx.ModelProto]
    data_sets: Callable[[onnx.ModelProto], DataSets]
    rtol: float
    atol: float


@dataclass(frozen=True)
class Group:
    """Trials that are excluded for one reason. `tests` are names and patterns of names; `refusal` is a regular
    expression that the error must match, so that it names the operator or the type; None where the expected outputs
    are disputed."""

    name: str
    reason: str
    refusal: str | None
    tests: tuple[str, ...]

    def holds(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.tests)


@dataclass(frozen=True)
class Outcome:
    """What became of a trial: passed, excluded (for the reason of `group`) or failed (`problem` says how)."""

    trial: Trial
    group: Group | None = None
    problem: str = ""

    @property
    def status(self) -> str:
        return "failed" if self.problem else "excluded" if self.group else "passed"


@functools.cache
def groups() -> tuple[Group, ...]:
    """The exclusions, in the file's order."""
    with (Path(__file__).parent / "exclusions.toml").open("rb") as file:
        tables = tomllib.load(file)
    return tuple(Group(name, entry["reason"], entry.get("refusal"), tuple(entry["tests"]))
                 for name, entry in tables.items())


# -- loading -----------------------------------------------------------------------------------------------------------


def load(suite: str) -> list[Trial]:
    """All tests of a suite, by name. The node tests compute their data when they are loaded, which takes seconds."""
    if suite == "node":
        from onnx.backend.test.loader import load_model_tests

        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            tests = load_model_tests(kind="node")
        return sorted((Trial(suite, t.name, lambda t=t: t.model, lambda model, t=t: t.data_sets, t.rtol, t.atol)
                       for t in tests), key=lambda trial: trial.name)
    if suite == "light":
        return [Trial(suite, path.stem, lambda path=path: onnx.load(path),
                      lambda model, path=path: [_light_data(model, path)], 1e-3, 1e-7)
                for path in sorted((DATA / suite).glob("*.onnx"))]
    return [Trial(suite, path.parent.name, lambda path=path: onnx.load(path),
                  lambda model, path=path: list(_stored_data(model, path.parent)), 1e-3, 1e-7)
            for path in sorted((DATA / suite).glob("*/model.onnx"))]


def _stored_data(model: onnx.ModelProto, folder: Path) -> Iterator[tuple[list[Any], list[Any]]]:
    for data in sorted(folder.glob("test_data_set_*")):
        yield _read(data, "input", model.graph.input), _read(data, "output", model.graph.output)


def _read(folder: Path, kind: str, infos: Sequence[onnx.ValueInfoProto]) -> list[Any]:
    return [_message(infos[i]).FromString((folder / f"{kind}_{i}.pb").read_bytes())
            for i in range(len(list(folder.glob(f"{kind}_*.pb"))))]


def _message(info: onnx.ValueInfoProto) -> Any:
    return {"sequence_type": onnx.SequenceProto, "optional_type": onnx.OptionalProto}.get(
        info.type.WhichOneof("value"), onnx.TensorProto)


def _light_data(model: onnx.ModelProto, path: Path) -> tuple[list[Any], list[Any]]:
    """The networks without their weights come with outputs for the inputs that onnx's runner makes up."""
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [Runner.generate_dummy_data(v, seed=0, name=path.stem, random=False)
              for v in model.graph.input if v.name not in stored]
    expected = onnx.TensorProto.FromString(path.with_name(f"{path.stem}_output_0.pb").read_bytes())
    return inputs, [expected]


def _array(value: Any) -> Any:
    """The array of a tensor, the list of a sequence."""
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, onnx.SequenceProto):
        return numpy_helper.to_list(value)
    return numpy_helper.to_optional(value) if isinstance(value, onnx.OptionalProto) else value


# -- judging -----------------------------------------------------------------------------------------------------------


def judge(trial: Trial) -> Outcome:
    group = next((g for g in groups() if g.holds(trial.name)), None)
    try:
        with np.errstate(all="ignore"):
            _run(trial, _expected if group is None or group.refusal else _onnxruntime)
    except UnsupportedError as error:
        if group is None or group.refusal is None:
            return Outcome(trial, problem=f"refused, but not excluded: {error}")
        if not re.search(group.refusal, str(error)):
            return Outcome(trial, problem=f"excluded as '{group.name}', but refused without naming it: {error}")
        return Outcome(trial, group)
    except Exception as error:  # of any kind: all failures are listed together
        return Outcome(trial, problem=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    if group is not None and group.refusal is None:
        return Outcome(trial, group)
    return Outcome(trial, problem=f"excluded as '{group.name}', but passes" if group else "")


def _expected(model: onnx.ModelProto, inputs: list[Any], outputs: list[Any]) -> list[Any]:
    """What the test says that comes out."""
    return outputs


def _onnxruntime(model: onnx.ModelProto, inputs: list[Any], outputs: list[Any]) -> list[Any]:
    """What comes out of ONNX Runtime."""
    import onnxruntime as ort

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {v.name: x for v, x in zip(model.graph.input, inputs, strict=True)}))


def _run(trial: Trial, truth: Callable[[onnx.ModelProto, list[Any], list[Any]], list[Any]]) -> None:
    """Every data set through the whole pipeline, and the node tests on the operators' references as well."""
    model = trial.model()
    prepared = cnncc.backend.prepare(model, "CPU")
    for given, wanted in trial.data_sets(model):
        inputs = list(map(_array, given))
        expected = truth(model, inputs, list(map(_array, wanted)))
        _compare(trial, expected, prepared.run(inputs))
        if trial.suite == "node":
            feeds = dict(zip(prepared.inputs, inputs, strict=True))
            fixed = {name: feeds.pop(name) for name in prepared.deciding}
            found = evaluate(load_graph(model, constants=fixed), feeds)
            _compare(trial, expected, [found[v.name] for v in model.graph.output])


def _compare(trial: Trial, expected: list[Any], found: Sequence[Any]) -> None:
    half = any(x.dtype == np.float16 for x in expected)
    Runner.assert_similar_outputs(expected, found, max(trial.rtol, HALF_RTOL) if half else trial.rtol,
                                  max(trial.atol, HALF_RTOL / 8) if half else trial.atol)
