"""network(): a network written in cnncc's language, from Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .ir import Graph

__all__ = ["network"]


def network(source: str | Path, name: str | None = None, *, weights: str | Path | Mapping[str, Any] | None = None,
            seed: int | None = 0, parameters: Mapping[str, Any] | None = None) -> Graph:
    """The graph of a network that is written in cnncc's language (docs/language.md).

    Args:
        source: the text, or the Path of a .cnn file.
        name: which network, where there are several; by default the first.
        weights: a .safetensors or .npz file, or arrays by name.
        seed: without weights, the seed that they are drawn by; None gives zeros that take no memory.
        parameters: values for the network's parameters.

    Raises:
        LanguageError: a ModelError with all errors of the text, each with its place.
        ModelError: the weights do not fit the network.
    """
    from .frontends.dsl import build_network, read_network

    if isinstance(source, Path):
        return read_network(source, name, weights=weights, seed=seed, parameters=parameters)
    return build_network(source, name, weights=weights, seed=seed, parameters=parameters)
