"""`cnncc verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .console import Reporter, print_json, print_line, print_table
from .options import Constants, Inputs, Json, Quiet, Shapes, Threads

COLUMNS = ("name", "shape", "largest", "error", "top1")


def verify(
        plan: Annotated[Path, typer.Argument(help="A plan made by `cnncc compile`, or an ONNX model.")],
        against: Annotated[Path, typer.Option("--against", help="The ONNX model it was compiled from.")],
        inputs: Inputs = None,
        seed: Annotated[int, typer.Option(help="Of the random inputs.")] = 0,
        runs: Annotated[int, typer.Option(min=1, help="How many random inputs to try.")] = 1,
        tolerance: Annotated[float, typer.Option(
            min=0.0, help="Allowed error: the largest difference over the largest output.")] = 1e-4,
        layers: Annotated[bool, typer.Option("--layers", help="Compare every layer that the plan kept.")] = False,
        shapes: Shapes = None,
        constants: Constants = None,
        threads: Threads = None,
        as_json: Json = False,
        quiet: Quiet = False) -> None:
    """Compares a plan with ONNX Runtime on the model it was compiled from.

    The exit code is 1 if an output differs by more than the tolerance. Needs onnxruntime: pip install cnncc[verify].

        cnncc verify resnet50.plan --against resnet50.onnx

        cnncc verify resnet50.plan --against resnet50.onnx --layers --input x.npy
    """
    from ..verification import verify as compare
    from .feeds import read_constants, read_feeds
    from .plans import input_types, open_plan, sizes_of, warm
    from .shapes import parse_sizes

    with Reporter(quiet) as reporter:
        loaded = open_plan(plan, reporter)
        feeds = read_feeds(inputs, input_types(loaded)) if inputs else None
        sizes = parse_sizes(shapes)
        warm(loaded, dict.fromkeys(loaded.symbols, 1) | sizes | sizes_of(loaded, feeds or {}), reporter)
        report = compare(loaded, against, feeds=feeds, seed=seed, runs=runs, tolerance=tolerance, layers=layers,
                         sizes=sizes, constants=read_constants(constants), threads=threads)
    if as_json:
        print_json({"passed": report.passed, "tolerance": tolerance,
                    "outputs": [_record(d) for d in report.outputs], "layers": [_record(d) for d in report.layers]})
    else:
        for title, found in (("layers", report.layers), ("outputs", report.outputs)):
            if found:
                rows = [[*list(_record(d).values())[:3], f"{d.error:.2e}", _percent(d.top1)] for d in found]
                print_table((title, *COLUMNS[1:]), rows, right=COLUMNS[2:])
        if report.passed:
            print_line(f"agrees with ONNX Runtime within {tolerance:g}")
    report.check()


def _record(difference: Any) -> dict[str, Any]:
    return {"name": difference.name, "shape": list(difference.shape), "largest": float(f"{difference.largest:.6g}"),
            "error": difference.error, "top1": difference.top1}


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"
