"""The node tests that the onnx package brings along, for all operators of OPS in their newest form."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cnncc.errors import GraphError
from cnncc.ir import DType, Operand, TensorType, make_op
from cnncc.ir.dims import is_unknown
from cnncc.ops import OPS

Array = np.ndarray[Any, Any]

# Beginnings of the names of tests of training, which cnncc refuses.
TRAINING = ("test_batchnorm_epsilon_training_mode", "test_batchnorm_example_training_mode", "test_training_dropout")

# Tests in which lengths are not whole numbers of elements. cnncc does as ONNX Runtime and ONNX's text do.
FRACTIONS = ("test_resize_downsample_scales_linear_align_corners", "test_resize_downsample_scales_cubic_align_corners")

# Takes the places of MaxUnpool for those in the shape it would infer without output_shape, MaxPool's for those in its
# input. cnncc does as ONNX Runtime, which leaves this test out: unpooling what was pooled gives its shape back.
PLACES = ("test_maxunpool_export_with_output_shape",)


def array(value: Any) -> Array:
    return np.asarray(numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value)


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes as make_op wants them."""
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, onnx.TensorProto):
            content = array(value)
            found |= {attribute.name: content.item(), "dtype": DType.of(content.dtype)}
        elif attribute.name in ("to", "output_dtype", "precision", "softmax_precision"):
            found[attribute.name] = DType.from_onnx(value)
        else:
            found[attribute.name] = value.decode() if isinstance(value, bytes) else value
    return found


def usable(test: Any) -> bool:
    """Whether the test is one node of OPS in today's form, on element types that cnncc has."""
    if test.name.startswith((*TRAINING, *FRACTIONS, *PLACES)) or not test.data_sets or len(test.model.graph.node) != 1:
        return False
    (node,) = test.model.graph.node
    opset = max(o.version for o in test.model.opset_import if o.domain == node.domain)
    op = OPS.get(node.op_type)
    if op is None or op.domain != node.domain or opset < op.since or op.body_fields:
        return False
    tensors = [array(v) for v in (*test.data_sets[0][0], *test.data_sets[0][1])
               if isinstance(v, (onnx.TensorProto, np.ndarray, np.generic))]
    if len(tensors) != sum(map(len, test.data_sets[0])):
        return False
    try:
        return all(DType.of(t.dtype) for t in tensors) and None not in attributes_of(node).values()
    except GraphError:
        return False


def load() -> list[Any]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return [test for test in load_model_tests(kind="node") if usable(test)]


def test_all() -> None:
    failures, seen = {}, set()
    for test in load():
        (node,) = test.model.graph.node
        seen.add(node.op_type)
        try:
            check(test, node)
        except Exception as error:  # of any kind: all failures are listed together
            failures[test.name] = f"{type(error).__name__}: {error}"
    assert not failures
    assert len(seen) > 80, "the installed onnx brings too few of its tests"


def check(test: Any, node: onnx.NodeProto) -> None:
    given, expected = test.data_sets[0]
    feeds = {info.name: array(v) for info, v in zip(test.model.graph.input, given, strict=True)}
    inputs = [feeds[name] if name else None for name in node.input]
    op = make_op(OPS, node.op_type, attributes_of(node))
    op.check_arity([x is not None for x in inputs])
    types = op.infer(*(None if x is None else Operand(TensorType(DType.of(x.dtype), x.shape), x) for x in inputs))
    with np.errstate(all="ignore"):
        results = op.reference(*inputs)
    places = [i for i, name in enumerate(node.output) if name]
    for i, wanted in zip(places, map(array, expected), strict=True):
        shape = tuple(w if is_unknown(d) else d for d, w in zip(types[i].shape, wanted.shape, strict=True))
        assert TensorType(types[i].dtype, shape) == TensorType(DType.of(wanted.dtype), wanted.shape)
        assert results[i].dtype == wanted.dtype
        np.testing.assert_allclose(results[i], wanted, rtol=test.rtol, atol=test.atol, strict=True)
