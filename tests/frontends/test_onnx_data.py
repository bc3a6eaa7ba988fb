"""The models that the onnx package ships with inputs and expected outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from cnncc.errors import UnsupportedError
from cnncc.frontends.onnx import import_model
from cnncc.ir import verify

from .models import Array, assert_equal, run_graph

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
MODELS = sorted(path.parent for folder in ("pytorch-converted", "pytorch-operator", "simple")
                for path in (DATA / folder).glob("*/model.onnx"))
LIGHT = sorted((DATA / "light").glob("*.onnx"))

# Their input `shape` decides the output's shape: it is fixed on import.
SHAPE_GIVEN = tuple(f"test_expand_shape_model{i}" for i in (1, 2, 3, 4))
# model -> what is reported of it: operators that are not supported.
REFUSED = {
    "test_gradient_of_add": "(ai.onnx.preview.training.Gradient, opset 1)",
    "test_gradient_of_add_and_mul": "(ai.onnx.preview.training.Gradient, opset 1)",
    "test_sequence_model1": "(SequenceEmpty, opset 12)",
    **{f"test_sequence_model{i}": "(SequenceConstruct, opset 12)" for i in (2, 3, 4, 5)},
    **{f"test_sequence_model{i}": "(SplitToSequence, opset 12)" for i in (6, 7, 8)},
    **{f"test_strnorm_model_{name}": "(StringNormalizer, opset 10)" for name in (
        "monday_casesensintive_lower", "monday_casesensintive_nochangecase", "monday_casesensintive_upper",
        "monday_empty_output", "monday_insensintive_upper_twodim", "nostopwords_nochangecase")},
}


def arrays(folder: Path, kind: str) -> list[Array]:
    paths = sorted(folder.glob(f"{kind}_*.pb"), key=lambda path: int(path.stem.rpartition("_")[2]))
    return [numpy_helper.to_array(TensorProto.FromString(path.read_bytes())) for path in paths]


@pytest.mark.parametrize("folder", [m for m in MODELS if m.name not in REFUSED], ids=lambda folder: folder.name)
def test_expected_outputs(folder: Path) -> None:
    proto = onnx.load(folder / "model.onnx").graph
    weights = {tensor.name for tensor in proto.initializer}
    names = [v.name for v in proto.input if v.name not in weights]
    sets = sorted(folder.glob("test_data_set_*"))
    assert sets
    for data in sets:
        feeds = dict(zip(names, arrays(data, "input"), strict=True))
        graph = import_model(folder / "model.onnx",
                             constants={"shape": feeds["shape"]} if folder.name in SHAPE_GIVEN else None)
        verify(graph)
        assert_equal(run_graph(graph, feeds), arrays(data, "output"))


@pytest.mark.parametrize("folder", [m for m in MODELS if m.name in REFUSED], ids=lambda folder: folder.name)
def test_refused_by_name(folder: Path) -> None:
    with pytest.raises(UnsupportedError) as info:
        import_model(folder / "model.onnx")
    assert any(REFUSED[folder.name] in problem for problem in info.value.problems)


def test_all_models_are_there() -> None:
    assert len(MODELS) == 140 and {m.name for m in MODELS} >= set(REFUSED)
    assert len(LIGHT) == 9


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_networks_of_the_model_zoo(path: Path) -> None:
    graph = import_model(path)
    verify(graph)
    expected = TensorProto.FromString(path.with_name(f"{path.stem}_output_0.pb").read_bytes())
    (output,) = graph.outputs
    assert output.type.static_shape == tuple(expected.dims)
    assert output.type.dtype.numpy == np.float32


@pytest.mark.parametrize("name", ["light_densenet121", "light_squeezenet"])
def test_networks_with_a_symbolic_batch(name: str) -> None:
    """Where no Reshape has the batch in its shape, the declared input is all that fixes it."""
    path = DATA / "light" / f"{name}.onnx"
    (name,) = (v.name for v in import_model(path).inputs)
    graph = import_model(path, shapes={name: ["N", 3, 224, 224]})
    assert str(graph.outputs[0].type) == "f32[N,1000,1,1]"
