"""verify(): what it measures, what it reports, and what it refuses."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import cnncc
from cnncc.errors import InputError, ModelError, VerificationFailed
from cnncc.verification import Difference, Report, compare_arrays

MODEL = Path(__file__).parents[1] / "examples" / "lenet" / "lenet5.onnx"


def difference(found: list[Any], expected: list[Any]) -> Difference:
    return compare_arrays("y", np.array(found, np.float32), np.array(expected, np.float32))


def test_the_error_is_relative_to_the_largest_value() -> None:
    found = difference([[1.0, -4.0, 2.5]], [[1.0, -4.0, 2.0]])
    assert found == Difference("y", (1, 3), 4.0, 0.125, 1.0)
    assert difference([[2.0, 1.0], [0.0, 1.0]], [[1.0, 2.0], [0.0, 1.0]]).top1 == 0.5
    assert difference([1.0, 2.0], [1.0, 2.0]).top1 is None


@pytest.mark.parametrize(("found", "expected", "error"), [
    ([0.0, 0.0], [0.0, 0.0], 0.0),
    ([0.5, 0.0], [0.0, 0.0], 0.5),
    ([np.nan, 1.0], [np.nan, 1.0], 0.0),
    ([np.inf, 1.0], [np.inf, 1.0], 0.0),
    ([np.nan, 1.0], [1.0, 1.0], np.inf),
    ([1.0, 1.0], [np.nan, 1.0], np.inf),
    ([np.inf, 1.0], [-np.inf, 1.0], np.inf),
    ([1.0], [1.0, 1.0], np.inf),
    ([], [], 0.0),
])
def test_zeros_and_numbers_that_are_none(found: list[float], expected: list[float], error: float) -> None:
    assert difference(found, expected).error == error


def test_a_report_fails_by_its_outputs_only() -> None:
    good, bad = Difference("y", (1,), 1.0, 1e-5), Difference("h", (1,), 1.0, 0.5)
    Report(1e-4, (good,), (bad,)).check()
    with pytest.raises(VerificationFailed, match=r"output 'h' differs .* by 5.00e-01 .* first layer to differ is 'h'"):
        Report(1e-4, (good, bad), (good, bad)).check()
    assert not Report(1e-4, (Difference("y", (1,), 1.0, np.nan),)).passed
    assert VerificationFailed.exit_code == 1


def test_lenet_agrees_in_every_layer_and_batch() -> None:
    report = cnncc.verify(cnncc.compile(MODEL), MODEL, runs=3, layers=True)
    assert report.passed and [d.name for d in report.outputs] == ["scores"]
    assert report.outputs[0].shape == (2, 10) and report.outputs[0].top1 == 1.0  # the third batch is of 2
    assert {d.name for d in report.layers} == {"relu1", "pool1", "relu2", "pool2", "relu3", "relu4"}
    assert all(d.error < 1e-5 for d in report.layers)


@pytest.mark.parametrize("form", ["bytes", "proto"])
def test_the_model_may_be_in_memory(form: str) -> None:
    model = MODEL.read_bytes() if form == "bytes" else onnx.load(MODEL)
    x = np.ones((2, 1, 32, 32), np.float32)
    assert cnncc.verify(cnncc.compile(model), model, feeds={"image": x}).outputs[0].shape == (2, 10)


def test_a_wrong_weight_is_found_in_its_layer() -> None:
    model = onnx.load(MODEL)
    weight = next(i for i in model.graph.initializer if i.name == "conv2.weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.01), "conv2.weight"))
    report = cnncc.verify(cnncc.compile(MODEL), model, layers=True)
    with pytest.raises(VerificationFailed, match="first layer to differ is 'relu2'"):
        report.check()


def model_of(shape: list[int | str]) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value("x", TensorProto.FLOAT, shape)],
                              [value("y", TensorProto.FLOAT, shape)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_sizes_that_only_the_caller_knows() -> None:
    model = model_of(["N", 3, "H", "W"])
    plan = cnncc.compile(model)
    with pytest.raises(InputError, match=r"'x' has the shape \[N,3,H,W\]: give a size for H"):
        cnncc.verify(plan, model)
    assert cnncc.verify(plan, model, sizes={"H": 4, "W": 5}).outputs[0].shape == (1, 3, 4, 5)


def test_inputs_that_were_fixed_to_constants() -> None:
    value = helper.make_tensor_value_info
    graph = helper.make_graph([helper.make_node("Reshape", ["x", "shape"], ["y"])], "g",
                              [value("x", TensorProto.FLOAT, [2, 6]), value("shape", TensorProto.INT64, [2])],
                              [value("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    plan = cnncc.compile(model, constants={"shape": [3, 4]})
    assert cnncc.verify(plan, model, constants={"shape": [3, 4]}).outputs[0].shape == (3, 4)
    with pytest.raises(ModelError, match="cannot run the model"):
        cnncc.verify(plan, model)


def test_a_model_that_is_another_one() -> None:
    plan = cnncc.compile(model_of([1, 3]))
    with pytest.raises(InputError, match="no output 'y'"):
        cnncc.verify(plan, MODEL)
    with pytest.raises(ModelError, match="ONNX Runtime cannot load the model"):
        cnncc.verify(plan, b"nothing")
    with pytest.raises(ModelError, match="ONNX Runtime cannot run the model"):
        cnncc.verify(plan, model_of([1, 4]))


def test_without_onnxruntime_there_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **kwargs: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError(name)
        return real(name, *rest, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InputError, match="pip install onnxruntime"):
        cnncc.verify(cnncc.compile(model_of([1, 3])), model_of([1, 3]))
