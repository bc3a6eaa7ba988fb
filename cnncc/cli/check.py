"""`cnncc check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import Reporter
from .networks import NetworkName, Settings, WeightsFile, is_language, network_options
from .options import Quiet


def check(
        files: Annotated[list[Path], typer.Argument(help="Networks (.cnn).")],
        weights: WeightsFile = None,
        name: NetworkName = None,
        settings: Settings = None,
        quiet: Quiet = False) -> None:
    """Lists all errors of networks, and of the weights for them.

    Every network of a file is checked. The exit code is 2 if there is an error.

        cnncc check resnet50.cnn

        cnncc check resnet50.cnn --weights resnet50.safetensors
    """
    from ..errors import CnnccError, InputError

    problems = []
    for path in files:
        if not is_language(path):
            raise InputError(f"'{path}' is not a network in the language: its name must end in .cnn")
        try:
            _check(path, network_options(path, weights, None, name, settings))
            Reporter(quiet).say(f"{path}: no errors")
        except CnnccError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))


def _check(path: Path, options: dict[str, Any]) -> None:
    from ..frontends.dsl import build_network, list_networks, read_source

    source = read_source(path)
    chosen: Any = options.pop("name")
    alone = chosen is not None or options["weights"] is not None or options["parameters"]
    names = [] if alone else list_networks(source.text, source.name)
    for name in names or [chosen]:
        build_network(source.text, name, origin=source.name, **options)
