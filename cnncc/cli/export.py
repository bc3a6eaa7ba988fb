"""`cnncc export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import Reporter, human_bytes, print_json
from .networks import NetworkName, Seed, Settings, WeightsFile, open_network
from .options import Json, Quiet, Shapes


def export(
        network: Annotated[Path, typer.Argument(help="A network: a .cnn file, or an ONNX model.")],
        output: Annotated[Path | None, typer.Option(
            "--output", "-o", help="The ONNX model to write.", show_default="NETWORK.onnx")] = None,
        weights: WeightsFile = None,
        seed: Seed = 0,
        name: NetworkName = None,
        settings: Settings = None,
        shapes: Shapes = None,
        as_json: Json = False,
        quiet: Quiet = False) -> None:
    """Writes a network as an ONNX model, checked by onnx's own checker.

        cnncc export resnet50.cnn --weights resnet50.safetensors -o resnet50.onnx

        cnncc export vgg16.cnn --set classes=10 --seed 1
    """
    from ..errors import InputError
    from ..frontends.onnx import export_model
    from .files import check_writable, replacing
    from .shapes import parse_shapes

    target = output or network.with_suffix(".onnx")
    if target.suffix.lower() != ".onnx" or target.resolve() == network.resolve():
        raise InputError(f"cannot export to '{target}': name another file, ending in .onnx, with -o")
    check_writable(target)
    graph = open_network(network, weights, seed, name, settings, shapes=parse_shapes(shapes))
    import onnx

    model = export_model(graph)
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    with replacing(target) as file:
        file.write(data)
    if as_json:
        print_json({"model": str(target), "nodes": len(model.graph.node), "bytes": len(data)})
    else:
        Reporter(quiet).say(f"wrote {target}: {len(model.graph.node)} nodes, {human_bytes(len(data))}")
