"""Exported models without their weights, and weights for them: what stands in data/, so that tests need no PyTorch.

    python -m tests.export.structures      # writes data/ anew; needs the extra `export`

An initialiser of more than KEPT floats has no contents there; `filled` gives it random ones, made from its name.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

__all__ = ["DATA", "filled", "stripped"]

DATA = Path(__file__).parent / "data"
KEPT = 16
BUFFERS = ("centres", "sizes")  # numbers that are no weights


def stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without large weights, and without what only tells where it came from."""
    model.graph.ClearField("value_info")
    for part in (model, model.graph, *model.graph.node, *model.graph.initializer, *model.graph.input,
                 *model.graph.output):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and int(np.prod(tensor.dims)) > KEPT and tensor.name not in BUFFERS:
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
    return model


def filled(path: Path) -> onnx.ModelProto:
    """The model in a file of data/ with weights: normal, by about as much as keeps the size of activations."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        count = int(np.prod(tensor.dims))
        if tensor.data_type == TensorProto.FLOAT and count > KEPT and not tensor.raw_data and not tensor.float_data:
            random = np.random.default_rng(zlib.crc32(tensor.name.encode()))
            fan_in = max(1, count // max(tensor.dims[0], 1))
            array = random.standard_normal(tuple(tensor.dims)).astype(np.float32) / np.float32(np.sqrt(fan_in))
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model


def main() -> None:
    from .networks import EXPORTERS, NETWORKS, export, opsets

    for old in DATA.glob("*.onnx"):
        old.unlink()
    for name in NETWORKS:
        for exporter in EXPORTERS:
            for opset in opsets(name, exporter)[:1]:
                model = stripped(onnx.load_from_string(export(name, exporter, opset)))
                (DATA / f"{name}-{exporter}-{opset}.onnx").write_bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
