"""The small models that the onnx package ships, through the whole pipeline and the native kernels."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

import cnncc

from ..frontends.test_onnx_data import MODELS, REFUSED, SHAPE_GIVEN, arrays
from .runs import assert_agree


@pytest.mark.parametrize("folder", [m for m in MODELS if m.name not in REFUSED], ids=lambda folder: folder.name)
def test_compiled_it_gives_the_expected_outputs(folder: Path) -> None:
    proto = onnx.load(folder / "model.onnx").graph
    stored = {tensor.name for tensor in proto.initializer}
    inputs = [v.name for v in proto.input if v.name not in stored]
    outputs = [v.name for v in proto.output]
    for data in sorted(folder.glob("test_data_set_*")):
        feeds = dict(zip(inputs, arrays(data, "input"), strict=True))
        constants = {"shape": feeds.pop("shape")} if folder.name in SHAPE_GIVEN else None
        session = cnncc.InferenceSession(cnncc.compile(folder / "model.onnx", constants=constants))
        found = session.run(None, feeds)
        assert_agree(dict(zip(outputs, found, strict=True)),
                     dict(zip(outputs, arrays(data, "output"), strict=True)), 1e-5)
