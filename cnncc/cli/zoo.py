"""`cnncc zoo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import compile as compile_verb
from . import export as export_verb
from .console import print_json, print_line, print_table
from .networks import Seed, Settings, WeightsFile
from .options import Json, Quiet, Shapes

__all__ = ["zoo"]

zoo = typer.Typer(help="Classic networks, written in cnncc's language: LeNet-5 to EfficientNet and ViT.",
                  context_settings={"help_option_names": ["-h", "--help"]})

Name = Annotated[str, typer.Argument(help="A network's name; `cnncc zoo list` shows them.")]


@zoo.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print_line(context.get_help())


@zoo.command("list")
def list_(as_json: Json = False) -> None:
    """Lists the networks: parameters, shapes, and where these are published.

        cnncc zoo list
    """
    from ..zoo import TABLE

    if as_json:
        print_json([{"name": e.name, "file": e.path.name, "parameters": e.parameters, "gmacs": e.gmacs,
                     "inputs": e.inputs.split(), "outputs": e.outputs.split(), "source": e.source} for e in TABLE])
        return
    print_table(("network", "parameters", "input", "output", "parameters as in"),
                [(e.name, f"{e.parameters:,}", e.inputs, e.outputs, e.source) for e in TABLE], right=("parameters",))


@zoo.command()
def show(name: Name, as_json: Json = False) -> None:
    """Prints the text that a network is written in.

        cnncc zoo show resnet50

        cnncc zoo show resnet50 > mine.cnn
    """
    from ..zoo import find

    path = find(name).path
    text = path.read_text(encoding="utf-8")
    if as_json:
        print_json({"name": name, "path": str(path), "text": text})
    else:
        print_line(text.rstrip("\n"))


@zoo.command()
def compile(
        name: Name,
        output: Annotated[Path | None, typer.Option(
            "--output", "-o", help="The plan to write.", show_default="NAME.plan")] = None,
        weights: WeightsFile = None,
        seed: Seed = 0,
        settings: Settings = None,
        shapes: Shapes = None,
        no_fallback: Annotated[bool, typer.Option(
            "--no-fallback", help="Refuse a network of which a node has no native kernel.")] = False,
        as_json: Json = False,
        quiet: Quiet = False) -> None:
    """Compiles a network into a plan.

        cnncc zoo compile resnet50 --weights resnet50.safetensors --shape N=1

        cnncc zoo compile mobilenet_v2 --set classes=10 --set size=96
    """
    from ..zoo import find

    compile_verb.compile_(find(name).path, output or Path(f"{name}.plan"), shapes=shapes, weights=weights, seed=seed,
                          network=name, settings=settings, no_fallback=no_fallback, as_json=as_json, quiet=quiet)


@zoo.command()
def export(
        name: Name,
        output: Annotated[Path | None, typer.Option(
            "--output", "-o", help="The ONNX model to write.", show_default="NAME.onnx")] = None,
        weights: WeightsFile = None,
        seed: Seed = 0,
        settings: Settings = None,
        shapes: Shapes = None,
        as_json: Json = False,
        quiet: Quiet = False) -> None:
    """Writes a network as an ONNX model.

        cnncc zoo export densenet121 --weights densenet121.safetensors -o densenet.onnx
    """
    from ..zoo import find

    export_verb.export(find(name).path, output or Path(f"{name}.onnx"), weights, seed, name, settings, shapes,
                       as_json, quiet)
