"""`cnncc fmt`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .console import Reporter, print_line
from .options import Quiet

NOT_FORMATTED = 1


def fmt(
        files: Annotated[list[Path], typer.Argument(help="Networks (.cnn); - reads stdin and writes stdout.")],
        check: Annotated[bool, typer.Option(
            "--check", help="Change nothing; name the files that would be and exit with 1 if there are any.")] = False,
        quiet: Quiet = False) -> None:
    """Puts networks into canonical form, in place. Comments stay.

        cnncc fmt resnet50.cnn

        cnncc fmt --check zoo/*.cnn
    """
    from ..frontends.dsl import read_source
    from ..frontends.dsl.formatter import format_text
    from .files import replacing

    changed = 0
    for path in files:
        stdin = str(path) == "-"
        text = sys.stdin.read() if stdin else read_source(path).text
        formatted = format_text(text, "<stdin>" if stdin else str(path))
        changed += formatted != text
        if check:
            if formatted != text:
                print_line(str(path))
        elif stdin:
            print_line(formatted.rstrip("\n"))
        elif formatted != text:
            with replacing(path) as file:
                file.write(formatted.encode())
            Reporter(quiet).say(f"formatted {path}")
    if check and changed:
        raise typer.Exit(NOT_FORMATTED)
