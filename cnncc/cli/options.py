"""Options that several verbs share."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

__all__ = ["Constants", "Fallback", "Inputs", "Json", "Quiet", "Shapes", "Target", "Threads"]


class Target(enum.StrEnum):
    CPU = "cpu"
    CUDA = "cuda"


class Fallback(enum.StrEnum):
    NONE = "none"
    CPU = "cpu"



Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only.")]
Threads = Annotated[int | None, typer.Option(
    "--threads", "-t", min=1, help="Threads to use; by default $CNNCC_NUM_THREADS or all CPUs this process may use.")]
Inputs = Annotated[list[str] | None, typer.Option(
    "--input", "-i", metavar="[NAME=]FILE", help="A .npy or .npz file or a picture; repeat it for several inputs.")]
Shapes = Annotated[list[str] | None, typer.Option(
    "--shape", metavar="NAME=SIZE", help="The size of a symbolic dimension (N=1; to compile, also limits, N=1..8), or "
                                         "the shape of an input (image=1x3x?x?); repeat it.")]
Constants = Annotated[list[str] | None, typer.Option(
    "--constant", metavar="NAME=VALUE", help="An input that never changes: numbers (2,3) or an .npy file; repeat it.")]
