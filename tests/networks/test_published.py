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


@pytest.mark.parametrize("name", MODELS)
def test_it_agrees_with_onnxruntime_or_names_what_it_lacks(name: str) -> None:
    """On a picture, where the model takes one. The tolerance is not below ONNX Runtime's disagreement with itself."""
    path = FOLDER / f"{name}.onnx"
    try:
        plan = cnncc.compile(path)
    except UnsupportedError as error:
        lacking = {problem.partition("(")[2].partition(",")[0].removeprefix("ai.onnx.") for problem in error.problems}
        present = {op.rpartition(":")[2].rpartition(".")[2] for op in MODELS[name]["ops"]}
        assert lacking and {op.rpartition(".")[2] for op in lacking} <= present
        pytest.skip(f"it uses {', '.join(sorted(lacking))}, which cnncc lacks")
    session, other = cnncc.InferenceSession(plan), reference(str(path))
    feeds = feeds_of(name, realistic=True)
    names = [o.name for o in other.get_outputs()]
    found = dict(zip(names, session.run(names, feeds), strict=True))
    tolerance = max(1e-4, 4 * MODELS[name]["ort"].get("opt_vs_noopt_maxdiff_over_maxabs", 0.0))
    assert_agree(found, dict(zip(names, other.run(None, feeds), strict=True)), tolerance)
