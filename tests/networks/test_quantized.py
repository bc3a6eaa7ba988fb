"""A network quantised by ONNX Runtime's own tools in every form they write, against ONNX Runtime."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

import cnncc
from cnncc.compiler import optimise
from cnncc.frontends.onnx import export_model, import_model

from ..frontends.models import model_of, normal
from .runs import Array, reference

SIZE = (2, 3, 20, 18)
TYPES = {"u8": QuantType.QUInt8, "s8": QuantType.QInt8}
NETWORK = """net (float[2,3,20,18] x) => (float[2,10] p, float[2,10] y) {
    a = Conv <pads=[1,1,1,1], strides=[2,2]> (x, w0, b0)
    b = Relu(a)
    c = Conv <pads=[1,1,1,1], group=24> (b, w1, b1)
    d = Clip(c, zero, six)
    e = Conv(d, w2, b2)
    f = Add(e, b)
    g = Conv <pads=[0,0,1,1]> (f, w3, b3)
    h = Sigmoid(g)
    i = MaxPool <kernel_shape=[2,2], strides=[1,1], pads=[0,0,1,1]> (b)
    j = Concat <axis=1> (h, i)
    k = AveragePool <kernel_shape=[3,3], strides=[2,2]> (j)
    l = Conv <group=5> (k, w4, b4)
    m = LeakyRelu <alpha=0.1> (l)
    n = GlobalAveragePool(m)
    o = Flatten(n)
    p = Gemm <transB=1> (o, w5, b5)
    y = Softmax(p)
}"""


class Reader(CalibrationDataReader):
    def __init__(self) -> None:
        self.feeds = iter([{"x": normal(*SIZE, seed=seed)} for seed in range(4)])

    def get_next(self) -> dict[str, Array] | None:
        return next(self.feeds, None)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shapes = {"w0": (24, 3, 3, 3), "w1": (24, 1, 3, 3), "w2": (24, 24, 1, 1), "w3": (16, 24, 2, 2), "w4": (20, 8, 2, 2),
              "w5": (10, 20)}
    weights: dict[str, Any] = {"zero": np.float32(0), "six": np.float32(6)}
    for i, (name, shape) in enumerate(shapes.items()):
        weights[name] = normal(*shape, seed=i) / np.float32(np.prod(shape[1:]) ** 0.5)
        weights[f"b{i}"] = normal(shape[0], seed=10 + i) / 4
    path = tmp_path_factory.mktemp("quantized") / "net.onnx"
    onnx.save(model_of(NETWORK, 17, **weights), path)
    return path


def quantized(network: Path, form: str, activations: str, weights: str, per_channel: bool) -> Path:
    target = network.with_name(f"{form}_{activations}{weights}{int(per_channel)}.onnx")
    logging.disable(logging.WARNING)
    if form == "dynamic":
        quantize_dynamic(network, target, weight_type=TYPES[weights], per_channel=per_channel)
    else:
        quantize_static(network, target, Reader(), quant_format=QuantFormat[form], per_channel=per_channel,
                        activation_type=TYPES[activations], weight_type=TYPES[weights])
    logging.disable(logging.NOTSET)
    return target


@pytest.mark.parametrize(("form", "activations", "weights", "per_channel"), [
    ("QDQ", "u8", "s8", True), ("QDQ", "s8", "s8", False), ("QDQ", "u8", "u8", False), ("QOperator", "u8", "s8", True),
    ("QOperator", "s8", "s8", False), ("QOperator", "u8", "u8", False), ("dynamic", "u8", "u8", False),
    ("dynamic", "u8", "s8", False),
])
def test_it_agrees_with_onnxruntime(network: Path, form: str, activations: str, weights: str,
                                    per_channel: bool) -> None:
    """On native kernels altogether. Numbers that are nearly ties may round the other way, and ONNX Runtime's Softmax
    multiplies by the whole part of the reciprocal of the scale."""
    path = quantized(network, form, activations, weights, per_channel)
    plan = cnncc.compile(path)
    assert not plan.fallbacks
    feeds = {"x": normal(*SIZE, seed=9)}
    found = cnncc.InferenceSession(plan).run(None, feeds)
    for y, right in zip(found, reference(str(path)).run(None, feeds), strict=True):
        assert len(np.unique(right)) > 8
        np.testing.assert_allclose(y, right, rtol=0, atol=1e-5 if form == "dynamic" else 1.01 * unit(right))
    if form != "dynamic":
        assert np.mean(found[0] != reference(str(path)).run(None, feeds)[0]) <= 0.1


def unit(y: Array) -> float:
    """The distance between neighbouring quantised numbers."""
    return float(np.diff(np.unique(y)).min())


def test_all_of_it_is_integers(network: Path) -> None:
    """A QDQ graph has real numbers at its ends and in the average pool only."""
    plan = cnncc.compile(quantized(network, "QDQ", "u8", "s8", True), warm=False)
    real = [s.op.op_type for s in plan.steps if plan.buffers[s.outputs[0]].type.dtype.is_float]
    assert sorted(real) == ["AveragePool", "DequantizeLinear", "DequantizeLinear", "DequantizeLinear", "Softmax"]


def test_optimised_and_exported_it_gives_the_same(network: Path) -> None:
    path = quantized(network, "QDQ", "u8", "s8", True)
    graph = import_model(path)
    optimise(graph)
    feeds = {"x": normal(*SIZE, seed=9)}
    found = reference(export_model(graph).SerializeToString()).run(None, feeds)
    for y, right in zip(found, reference(str(path)).run(None, feeds), strict=True):
        np.testing.assert_allclose(y, right, rtol=0, atol=1.01 * unit(right))
