"""`cnncc summary`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import print_json, print_line, print_table
from .networks import NetworkName, Settings, open_network
from .options import Json, Shapes


def summary(
        network: Annotated[Path, typer.Argument(help="A network: a .cnn file, or an ONNX model.")],
        name: NetworkName = None,
        settings: Settings = None,
        shapes: Shapes = None,
        as_json: Json = False) -> None:
    """Prints a network's layers: output shape, parameters, multiply-accumulates and receptive field.

    A batch that is symbolic counts as one. Parameters are the trained numbers, without BatchNormalization's statistics.

        cnncc summary resnet50.cnn

        cnncc summary detector.onnx --shape H=480 --shape W=640
    """
    from ..statistics import summary as summarise
    from .shapes import parse_shapes

    found = summarise(open_network(network, None, None, name, settings, shapes=parse_shapes(shapes)))
    if as_json:
        print_json(found.as_dict())
        return
    for kind, ports in (("input", found.inputs), ("output", found.outputs)):
        for port, type_ in ports.items():
            print_line(f"{kind} {port}: {type_}")
    print_line()
    macs = found.macs if isinstance(found.macs, str) else f"{found.macs:,}"
    print_table(("layer", "operator", "output", "parameters", "MACs", "field"), found.rows(),
                right=("parameters", "MACs"))
    print_line(f"{found.name}: {len(found.layers)} layers, {found.parameters:,} parameters, {macs} MACs")
