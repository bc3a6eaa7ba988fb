"""Published models with their trained weights, in the folder that CNNCC_MODELS names, end to end."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest

import cnncc
from cnncc.errors import UnsupportedError

from .runs import assert_agree, reference

FOLDER = Path(os.environ.get("CNNCC_MODELS", ""))
MODELS = {entry["name"]: entry for entry in json.loads((FOLDER / "models.json").read_text())} \
    if "CNNCC_MODELS" in os.environ else {}
pytestmark = pytest.mark.skipif(not MODELS, reason="CNNCC_MODELS does not name a folder of published models")


def feeds_of(name: str, realistic: bool) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("make_inputs", FOLDER / "make_inputs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.feeds(name, realistic=realistic))


# Uses an operator that nobody knows.
REFUSED = {"neg_deeploy_mlperf_ic": "RequantShift"}


@pytest.mark.parametrize("name", [name for name in MODELS if name not in REFUSED])
def test_it_agrees_with_onnxruntime(name: str) -> None:
    """On random numbers and on a picture. The tolerance is not below ONNX Runtime's disagreement with itself."""
    path = FOLDER / f"{name}.onnx"
    session, other = cnncc.InferenceSession(cnncc.compile(path)), reference(str(path))
    names = [o.name for o in other.get_outputs()]
    tolerance = max(1e-4, 4 * MODELS[name]["ort"].get("opt_vs_noopt_maxdiff_over_maxabs", 0.0))
    for realistic in (False, True):
        feeds = feeds_of(name, realistic)
        found = dict(zip(names, session.run(names, feeds), strict=True))
        assert_agree(found, dict(zip(names, other.run(None, feeds), strict=True)), tolerance)


@pytest.mark.parametrize("name", [name for name in MODELS if name in REFUSED])
def test_an_unknown_operator_is_named(name: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        cnncc.compile(FOLDER / f"{name}.onnx")
    assert caught.value.problems
    assert all(f"({REFUSED[name]}, " in problem for problem in caught.value.problems)
