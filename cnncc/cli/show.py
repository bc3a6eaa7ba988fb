"""`cnncc show`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from .console import Reporter, print_line
from .networks import NetworkName, Seed, Settings, WeightsFile, open_network
from .options import Quiet, Shapes


class Form(enum.StrEnum):
    DSL = "dsl"
    IR = "ir"
    ONNX_TEXT = "onnx-text"


def show(
        network: Annotated[Path, typer.Argument(help="A network: a .cnn file, or an ONNX model.")],
        form: Annotated[Form, typer.Option("--as", help="The language, IR text, or onnx's text.")] = Form.DSL,
        weights: WeightsFile = None,
        seed: Seed = 0,
        name: NetworkName = None,
        settings: Settings = None,
        shapes: Shapes = None,
        save_weights: Annotated[Path | None, typer.Option(
            "--save-weights", help="Also write the weights that the text names to a .safetensors file.")] = None,
        quiet: Quiet = False) -> None:
    """Prints a network, an ONNX model too, as a text that can be read back.

        cnncc show resnet50.onnx --as dsl --save-weights resnet50.safetensors > resnet50.cnn

        cnncc show vgg16.cnn --as ir
    """
    from ..ir import format_graph
    from .files import check_writable
    from .shapes import parse_shapes

    if save_weights is not None:
        check_writable(save_weights)
    needed = save_weights is not None or form is Form.ONNX_TEXT
    graph = open_network(network, weights, seed if needed else None, name, settings, shapes=parse_shapes(shapes))
    if form is Form.DSL:
        from ..frontends.dsl import format_network

        text = format_network(graph)
    elif form is Form.IR:
        text = format_graph(graph)
    else:
        import onnx

        from ..frontends.onnx import export_model

        text = onnx.printer.to_text(export_model(graph))
    if save_weights is not None:
        _save(graph, save_weights)
        Reporter(quiet).say(f"wrote {save_weights}")
    print_line(text.rstrip("\n"))


def _save(graph: object, path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save

    from ..frontends.dsl import weights_of
    from .files import replacing

    arrays = {n: np.ascontiguousarray(a) for n, a in weights_of(graph).items()}  # type: ignore[arg-type]
    with replacing(path) as file:
        file.write(save(arrays))
