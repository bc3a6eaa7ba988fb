"""Published networks in the folder that CNNCC_MODELS names: imported, exported again, and run by ONNX Runtime."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import onnx
import pytest

from cnncc.errors import UnsupportedError
from cnncc.frontends.onnx import export_model, import_model
from cnncc.ir import verify

from .models import assert_equal, run_onnxruntime

FOLDER = Path(os.environ.get("CNNCC_MODELS", ""))
NAMES = [entry["name"] for entry in json.loads((FOLDER / "models.json").read_text())] \
    if "CNNCC_MODELS" in os.environ else []
pytestmark = pytest.mark.skipif(not NAMES, reason="CNNCC_MODELS does not name a folder of published models")

# model -> operators that cnncc has not
REFUSED = {
    "neg_deeploy_mlperf_ic": {"RequantShift"},
}


def feeds_of(name: str) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("make_inputs", FOLDER / "make_inputs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.feeds(name))


@pytest.mark.parametrize("name", [n for n in NAMES if n not in REFUSED])
def test_exported_again_it_computes_the_same(name: str) -> None:
    path = FOLDER / f"{name}.onnx"
    graph = import_model(path)
    verify(graph)
    model = export_model(graph)
    onnx.checker.check_model(model, full_check=True)
    feeds = feeds_of(name)
    assert_equal(run_onnxruntime(model, feeds), run_onnxruntime(onnx.load(path), feeds), 1e-4)


@pytest.mark.parametrize("name", sorted(REFUSED) if NAMES else [])
def test_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedError) as info:
        import_model(FOLDER / f"{name}.onnx")
    assert {problem.split("(")[1].split(",")[0] for problem in info.value.problems} == REFUSED[name]
