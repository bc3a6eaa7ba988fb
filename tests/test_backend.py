"""The ONNX Backend API."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.backend.base
import onnx.parser
import pytest
from onnx import helper

import cnncc.backend as backend
from cnncc.errors import InputError, UnsupportedError

MODEL = onnx.parser.parse_model('<ir_version: 10, opset_import: ["": 21]> '
                                "g (float[N,2] x, float[2] b) => (float[N,2] total, float[N,2] kept) "
                                "{ total = Add (x, b) kept = Relu (x) }")
RESHAPE = onnx.parser.parse_model('<ir_version: 10, opset_import: ["": 21]> '
                                  "g (float[2,3] x, int64[n] shape) => (float[?] y) { y = Reshape (x, shape) }")
X, B = np.array([[-1, 2]], np.float32), np.array([1, 1], np.float32)


def test_it_is_a_backend() -> None:
    assert issubclass(backend.CnnccBackend, onnx.backend.base.Backend)
    assert isinstance(backend.prepare(MODEL), onnx.backend.base.BackendRep)
    assert backend.supports_device("CPU") and not backend.supports_device("CUDA:0")
    assert backend.is_compatible(MODEL)


@pytest.mark.parametrize("inputs", [[X, B], (X, B), {"b": B, "x": X}], ids=["list", "tuple", "by name"])
def test_run(inputs: object) -> None:
    outputs = backend.prepare(MODEL, "CPU", threads=1, level=1).run(inputs)
    np.testing.assert_array_equal(outputs[0], [[0, 3]])
    np.testing.assert_array_equal(outputs["kept"], [[0, 2]])


def test_run_model() -> None:
    np.testing.assert_array_equal(backend.run_model(MODEL, [X, B])[0], [[0, 3]])


def test_contents_that_decide_shapes_are_those_of_the_run() -> None:
    prepared = backend.prepare(RESHAPE)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for shape in ([3, 2], [-1], [3, 2]):
        np.testing.assert_array_equal(prepared.run([x, np.array(shape, np.int64)])[0], x.reshape(shape))
    with pytest.raises(InputError, match="'shape'"):
        prepared.run({"x": x})


def test_run_node() -> None:
    clip = helper.make_node("Clip", ["x", "", "high"], ["y"])
    (y,) = backend.run_node(clip, [X, np.array(0, np.float32)])
    np.testing.assert_array_equal(y, [[-1, 0]])
    square = helper.make_node("Mul", ["x", "x"], ["y"])
    np.testing.assert_array_equal(backend.run_node(square, X)[0], [[1, 4]])
    softmax = helper.make_node("Softmax", ["x"], ["y"])
    ones = np.ones((1, 2, 2), np.float32)
    assert backend.run_node(softmax, ones, opset_version=11)[0][0, 0, 0] == 0.25  # over all axes from 1 on
    assert backend.run_node(softmax, ones)[0][0, 0, 0] == 0.5


@pytest.mark.parametrize(("call", "message"), [
    (lambda: backend.prepare(MODEL, "CUDA"), "there is no device 'CUDA'"),
    (lambda: backend.prepare(MODEL, levle=1), "there is no option 'levle'"),
    (lambda: backend.prepare(MODEL).run([X]), "1 arrays were given, but the model has 2 inputs: x, b"),
    (lambda: backend.run_node(helper.make_node("Add", ["a", "b"], ["y"]), [X]), "the node Add has 2 inputs: a, b"),
])
def test_mistakes(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()  # type: ignore[operator]


def test_what_is_not_supported_is_refused() -> None:
    node = helper.make_node("StringNormalizer", ["x"], ["y"])
    with pytest.raises(UnsupportedError, match="StringNormalizer"):
        backend.run_node(node, [X])
    unknown = onnx.parser.parse_model('<ir_version: 10, opset_import: ["": 21]> '
                                      "g (float[2,2] x) => (float[2,2] y) { y = RandomNormalLike (x) }")
    assert not backend.is_compatible(unknown)
