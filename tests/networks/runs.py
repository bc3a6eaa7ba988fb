"""Runs of whole networks in ONNX Runtime and in cnncc."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from cnncc.verification import compare_arrays

__all__ = ["Array", "assert_agree", "networks", "reference"]

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import networks

Array = np.ndarray[Any, Any]


def reference(model: str | bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def assert_agree(found: Mapping[str, Array], expected: Mapping[str, Array], tolerance: float = 1e-4) -> None:
    """Every output: type, shape, largest error over largest output, and the same top-1 in every row of a matrix.
    Half precision may differ by 8 units in its last place."""
    assert list(found) == list(expected)
    for name, right in expected.items():
        assert found[name].dtype == right.dtype and found[name].shape == right.shape, name
        difference = compare_arrays(name, found[name], right)
        allowed = max(tolerance, 8 * 2**-11) if right.dtype == np.float16 else tolerance
        assert difference.error <= allowed and difference.top1 in (None, 1.0), difference
