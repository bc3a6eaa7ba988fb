"""`cnncc bench`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import Reporter, print_json, print_line, print_table
from .options import Inputs, Json, Quiet, Shapes

if TYPE_CHECKING:
    import numpy as np

    from ..benchmark.compare import Case
    from ..plan import Plan


def bench(
        plan: Annotated[Path, typer.Argument(help="A plan made by `cnncc compile`, or an ONNX model.")],
        more: Annotated[list[str] | None, typer.Argument(metavar="[PEER]...", help="Further runtimes of --vs.")] = None,
        vs: Annotated[list[str] | None, typer.Option(
            "--vs", metavar="PEER", help="Runtimes to compare with: onnxruntime, openvino, ncnn.",
            show_default="onnxruntime")] = None,
        model: Annotated[Path | None, typer.Option(
            "--model", help="The ONNX model that the peers run; by default the network that is in the plan.")] = None,
        inputs: Inputs = None,
        shapes: Shapes = None,
        threads: Annotated[list[int] | None, typer.Option(
            "--threads", "-t", min=1, help="Threads of each runtime; repeat it. By default as for `run`.")] = None,
        seconds: Annotated[float, typer.Option("--seconds", min=0.01, help="Time for each runtime.")] = 4.0,
        runs: Annotated[int, typer.Option("--runs", "-n", min=1, help="Turns in which this time is taken.")] = 10,
        as_json: Json = False,
        quiet: Quiet = False) -> None:
    """Measures a plan against other runtimes.

    Each runs in a process of its own, pinned to the same CPUs, in single precision with the same inputs; they take
    turns, and their outputs must agree first. The ratio is the fastest peer's median over cnncc's. Inputs that are not
    given are random numbers. The peers are installed with `pip install cnncc[bench]`.

        cnncc bench resnet50.plan --vs onnxruntime openvino ncnn

        cnncc bench detector.plan --model detector.onnx --shape H=480 --shape W=640 --threads 1 --threads 2
    """
    from ..benchmark.compare import OURS, Effort, compare
    from ..benchmark.report import comparison_table, left_out_lines
    from ..environment import thread_count
    from ..errors import VerificationFailed
    from .feeds import random_feeds, read_feeds
    from .plans import input_types, open_plan, sizes_of, warm
    from .shapes import parse_sizes

    engines = [OURS, *chosen_peers([*(vs or []), *(more or [])] or ["onnxruntime"])]
    with Reporter(quiet) as reporter, tempfile.TemporaryDirectory(prefix="cnncc-bench-") as folder:
        loaded = open_plan(plan, reporter)
        types = input_types(loaded)
        feeds = read_feeds(inputs, types) if inputs else random_feeds(types, parse_sizes(shapes))
        warm(loaded, sizes_of(loaded, feeds), reporter)
        case = _case(plan, loaded, model, Path(folder), engines, [feeds[name] for name in types])
        found = [compare(case, engines, count, Effort(seconds, runs), reporter.event)
                 for count in threads or [thread_count()]]
    for one in found:
        if OURS in one.left_out:
            raise VerificationFailed(f"cnncc cannot be compared on '{one.name}': {one.left_out[OURS]}")
    if as_json:
        print_json([one.as_json() for one in found])
        return
    table = comparison_table(found, engines)
    print_table(table.columns, table.rows, right=table.right)
    for line in left_out_lines(found):
        print_line(line)


def chosen_peers(names: Sequence[str]) -> list[str]:
    """The peers, each once. Raises InputError where one is unknown or not installed."""
    from ..benchmark.compare import OURS
    from ..benchmark.worker import ENGINES, installed_version
    from ..errors import InputError

    known = [name for name in ENGINES if name != OURS]
    for name in names:
        if name not in known:
            raise InputError(f"cnncc cannot be compared with '{name}': --vs takes {', '.join(known)}")
        if installed_version(name) is None:
            raise InputError(f"{name} is not installed: pip install cnncc[bench]")
    return list(dict.fromkeys(names))


def _case(path: Path, plan: Plan, model: Path | None, folder: Path, engines: Sequence[str],
          inputs: Sequence[np.ndarray]) -> Case:
    """The plan for cnncc, and the network as an ONNX file for the peers."""
    from ..benchmark.prepare import graph_of_plan, prepare

    ours = path
    if path.suffix != ".plan":
        ours = folder / "compiled.plan"
        plan.save(ours)
    onnx = model or (path if path.suffix == ".onnx" else None)
    if onnx is None:
        from ..frontends.onnx import export_model

        onnx = folder / "network.onnx"
        onnx.write_bytes(export_model(graph_of_plan(plan)).SerializeToString())
    return prepare(path.stem, onnx, folder, engines, inputs, plan=ours)
