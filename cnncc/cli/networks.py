"""Networks for the verbs that read one: a .cnn file or an ONNX model, with the options that both share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError

if TYPE_CHECKING:
    from ..ir import Graph

__all__ = ["NetworkName", "Seed", "Settings", "WeightsFile", "bind_sizes", "is_language", "network_options",
           "open_network"]

WeightsFile = Annotated[Path | None, typer.Option(
    "--weights", help="Weights for a .cnn network by name: a .safetensors or .npz file.")]
Seed = Annotated[int, typer.Option("--seed", help="Draws the weights of a .cnn network that has no --weights.")]
NetworkName = Annotated[str | None, typer.Option(
    "--network", metavar="NAME", help="Which network of a .cnn file; by default the first.")]
Settings = Annotated[list[str] | None, typer.Option(
    "--set", metavar="NAME=VALUE", help="A parameter of a .cnn network; repeat it.")]


def is_language(path: Path) -> bool:
    return path.suffix.lower() == ".cnn"


def network_options(path: Path, weights: Path | None, seed: int | None, network: str | None,
                    settings: Sequence[str] | None) -> dict[str, Any]:
    """What `load_graph` takes beyond the path: nothing for an ONNX model, which has its own weights."""
    if is_language(path):
        return {"name": network, "weights": weights, "seed": seed, "parameters": _settings(settings)}
    for option, given in (("--weights", weights), ("--network", network), ("--set", settings)):
        if given:
            raise InputError(f"{option} is for networks in .cnn files; '{path}' has its own")
    return {}


def open_network(path: Path, weights: Path | None = None, seed: int | None = 0, network: str | None = None,
                 settings: Sequence[str] | None = None, *,
                 shapes: Mapping[str, int | Sequence[int | str]] | None = None) -> Graph:
    """The graph of the file; `seed` None leaves out the weights of a .cnn network that has no file of them."""
    from ..frontends import load_graph

    if any(isinstance(s, range) for s in (shapes or {}).values()):
        raise InputError("limits of sizes (--shape N=1..8) are for `cnncc compile`: give one size here")
    whole = {n: s for n, s in (shapes or {}).items() if not isinstance(s, int)}
    graph = load_graph(path, shapes=whole, **network_options(path, weights, seed, network, settings))
    return bind_sizes(graph, {n: s for n, s in (shapes or {}).items() if isinstance(s, int)})


def bind_sizes(graph: Graph, sizes: Mapping[str, int]) -> Graph:
    """The graph with symbolic dimensions at these sizes, in place."""
    for name in sizes:
        if name not in graph.symbols:
            raise InputError(f"the network has no symbolic dimension '{name}'; it has "
                             f"{', '.join(graph.symbols) or 'none'}")
    if sizes:
        for value in graph.inputs:
            value.type = value.type.bind(dict(sizes))
        graph.reinfer()
    return graph


def _settings(given: Sequence[str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not name or not equals or not value:
            raise InputError(f"'{text}' is not a setting; write --set classes=10")
        found[name.strip()] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    """A whole number, a number, true or false, a list of them in commas, or a word."""
    if "," in text:
        return [_value(part.strip()) for part in text.strip("[]").split(",") if part.strip()]
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
