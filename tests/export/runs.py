"""Runs of exported models in cnncc and in ONNX Runtime."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

import cnncc

from ..networks.runs import assert_agree

__all__ = ["check", "expected", "feeds_of"]

Array = np.ndarray[Any, Any]
TOLERANCE = 1e-5
SIZES = ({"batch": 2, "height": 20, "width": 28}, {"batch": 3, "height": 37, "width": 22})  # of open axes, in turn
TOKENS = 11


def feeds_of(model: onnx.ModelProto, sizes: dict[str, int]) -> dict[str, Array]:
    """Seeded inputs, open axes at these sizes."""
    random, feeds = np.random.default_rng(5), {}
    for value in model.graph.input:
        type_ = value.type.tensor_type
        shape = [sizes[d.dim_param] if d.dim_param else d.dim_value for d in type_.shape.dim]
        whole = type_.elem_type == onnx.TensorProto.INT64
        feeds[value.name] = random.integers(0, TOKENS, shape) if whole else \
            random.standard_normal(shape).astype(np.float32)
    return feeds


def expected(model: onnx.ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
    """ONNX Runtime's outputs."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return dict(zip((o.name for o in model.graph.output), session.run(None, feeds), strict=True))


def check(model: onnx.ModelProto, judge: onnx.ModelProto | None = None) -> None:
    """One session for all sizes agrees with ONNX Runtime, which runs `judge` where it cannot run the model itself.
    Where the data choose a way, negated ones are tried, too."""
    session = cnncc.InferenceSession(cnncc.compile(model, warm=False))
    names = [o.name for o in model.graph.output]
    open_axes = any(d.dim_param for v in model.graph.input for d in v.type.tensor_type.shape.dim)
    chooses = any(node.op_type in ("If", "Loop") for node in model.graph.node)
    for sizes, sign in itertools.product(SIZES if open_axes else SIZES[:1], (1, -1) if chooses else (1,)):
        feeds = {name: array * array.dtype.type(sign) for name, array in feeds_of(model, sizes).items()}
        found = dict(zip(names, session.run(names, feeds), strict=True))
        assert_agree(found, expected(judge or model, feeds), TOLERANCE)
