"""`cnncc profile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import Reporter, print_json, print_line, print_table
from .options import Inputs, Json, Quiet, Shapes, Target, Threads

if TYPE_CHECKING:
    from ..profile import Profile


def profile(
        plan: Annotated[Path, typer.Argument(help="A plan made by `cnncc compile`, or an ONNX model.")],
        inputs: Inputs = None,
        shapes: Shapes = None,
        runs: Annotated[int, typer.Option("--runs", "-n", min=1, help="How often to run.")] = 20,
        slowest: Annotated[int, typer.Option(
            "--slowest", min=0, help="Only the K steps that take longest; 0 for all, in order.")] = 0,
        trace: Annotated[Path | None, typer.Option(help="Also write a trace for Perfetto or chrome://tracing.")] = None,
        target: Annotated[Target, typer.Option(help="What a model is compiled for; a plan has its own target.")
                          ] = Target.CPU,
        predicted: Annotated[bool, typer.Option(
            "--predict", help="With --target cuda: do not run, predict the time on GPUs, which need not be here.")
        ] = False,
        devices: Annotated[list[str] | None, typer.Option(
            "--device", help="With --predict: h100 or a100; by default both.")] = None,
        threads: Threads = None,
        as_json: Json = False,
        quiet: Quiet = False) -> None:
    """Shows how long every step of a run takes, and how that compares with what this machine can do.

    "of limit" is the time this machine would need at least, computing at its measured peak and moving every operand
    from memory once, over the time taken. It exceeds 100 % where Winograd's algorithm leaves out arithmetic or the
    data lie in caches. Inputs that are not given are random numbers.

        cnncc profile resnet50.plan

        cnncc profile resnet50.plan --threads 1 --slowest 10 --trace run.json

        cnncc profile resnet50.onnx --shape N=1 --target cuda --predict --device h100
    """
    from ..errors import InputError
    from ..session import InferenceSession
    from .feeds import random_feeds, read_feeds
    from .files import check_writable, replacing
    from .plans import input_types, open_plan, sizes_of, warm
    from .prediction import predict_network
    from .shapes import parse_sizes

    if predicted:
        if target is not Target.CUDA:
            raise InputError("only times on a GPU are predicted: add --target cuda")
        with Reporter(quiet) as reporter:
            predict_network(plan, parse_sizes(shapes), devices or [], slowest, as_json, reporter)
        return
    with Reporter(quiet) as reporter:
        if trace is not None:
            check_writable(trace)
        loaded = open_plan(plan, reporter, target.value)
        types = input_types(loaded)
        feeds = read_feeds(inputs, types) if inputs else random_feeds(types, parse_sizes(shapes))
        warm(loaded, sizes_of(loaded, feeds), reporter)
        found = InferenceSession(loaded, threads=threads).profile(feeds, runs)
        if trace is not None:
            with replacing(trace) as file:
                file.write(found.trace().encode())
            reporter.say(f"wrote {trace}")
    if as_json:
        print_json(found.as_json())
    else:
        _print(found, slowest)


def _print(found: Profile, slowest: int) -> None:
    total = sum(s.seconds for s in found.steps)
    print_line(f"{found.name}: {found.seconds * 1e3:.3f} ms a run with {found.threads} threads, median of {found.runs}")
    print_line(f"limits of {found.machine}: {found.flops * 1e-9:.0f} GFLOP/s, {found.bandwidth * 1e-9:.1f} GB/s")
    print_line()
    steps = sorted(found.steps, key=lambda s: -s.seconds)[:slowest] if slowest else found.steps
    rows = [(s.kernel, s.op_type, s.shapes, f"{s.seconds * 1e6:.1f}", _percent(s.seconds, total),
             f"{s.gflops:.1f}" if s.macs else "", f"{s.gbytes:.1f}", f"{s.share_of_limit:.0%}", s.name) for s in steps]
    columns = ("kernel", "operator", "shapes", "us", "share", "GFLOP/s", "GB/s", "of limit", "name")
    print_table(columns, rows, right=("us", "share", "GFLOP/s", "GB/s", "of limit"))
    print_line()
    families = [(kernel, count, f"{seconds * 1e6:.1f}", _percent(seconds, total), f"{gflops:.1f}" if gflops else "")
                for kernel, count, seconds, gflops in found.families()]
    print_table(("kernel", "steps", "us", "share", "GFLOP/s"), families, right=("steps", "us", "share", "GFLOP/s"))


def _percent(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else ""
