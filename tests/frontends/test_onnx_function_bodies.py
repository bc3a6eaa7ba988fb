"""Operators that cnncc has not, but ONNX defines by others."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx.reference import ReferenceEvaluator

from cnncc.errors import UnsupportedError
from cnncc.frontends.onnx import import_model
from cnncc.ops import OPS

from .models import assert_equal, run_graph

HEADER = '<ir_version: 10, opset_import: ["": 23]> '
X, TARGET = np.random.default_rng(0).standard_normal((4, 3, 2)).astype(np.float32), np.array([[0, 2]] * 4, np.int64)


def model(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(HEADER + text)


@pytest.mark.parametrize(("text", "feeds"), [
    ("g (float[N,3,2] x, int64[N,2] t) => (float y) { y = SoftmaxCrossEntropyLoss <reduction = \"sum\"> (x, t) }",
     {"x": X, "t": TARGET}),
    ("g (float[N,3,2] x, int64[N,2] t) => (float[N,2] y) "
     "<float[3] w = {1, 2, 3}> { y = NegativeLogLikelihoodLoss <reduction = \"none\"> (x, t, w) }",
     {"x": X, "t": TARGET}),
], ids=["one that calls another", "of initialisers"])
def test_the_body_stands_for_the_operator(text: str, feeds: dict[str, np.ndarray]) -> None:
    assert "SoftmaxCrossEntropyLoss" not in OPS and "NegativeLogLikelihoodLoss" not in OPS
    proto = model(text)
    assert_equal(run_graph(import_model(proto), feeds), ReferenceEvaluator(proto).run(None, feeds))


def test_two_calls_do_not_share_names() -> None:
    loss = 'NegativeLogLikelihoodLoss <reduction = "none">'
    proto = model(f"g (float[N,3,2] x, float[N,3,2] z, int64[N,2] t) => (float[N,2] y) "
                  f"{{ a = {loss} (x, t) b = {loss} (z, t) y = Sub (a, b) }}")
    feeds = {"x": X, "z": X * X, "t": TARGET}
    assert_equal(run_graph(import_model(proto), feeds), ReferenceEvaluator(proto).run(None, feeds))


def test_what_the_body_lacks_is_reported_of_the_node() -> None:
    proto = model("g (float[2,3] x) => (float[2,3] y) { y = SoftmaxCrossEntropyLoss (x, x) }")
    with pytest.raises(UnsupportedError) as info:
        import_model(proto)
    (problem,) = info.value.problems
    assert problem.startswith("node 'y' (SoftmaxCrossEntropyLoss, opset 23): ONNX defines it by other operators")


def test_random_operators_are_refused_by_their_own_names() -> None:
    with pytest.raises(UnsupportedError, match=r"\(Bernoulli, opset 23\): cnncc has no such operator"):
        import_model(model("g (float[2] x) => (float[2] y) { y = Bernoulli (x) }"))
