"""What PyTorch's exporters made of small networks, with other weights: compiled, run, compared with ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from .runs import check
from .structures import DATA, filled

MODELS = sorted(DATA.glob("*.onnx"))


def test_there_are_models_of_both_exporters() -> None:
    assert {path.stem.split("-")[1] for path in MODELS} == {"dynamo", "torchscript"}
    assert len({path.stem.split("-")[0] for path in MODELS}) >= 8


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_it_agrees_with_onnxruntime(path: Path) -> None:
    check(filled(path))
