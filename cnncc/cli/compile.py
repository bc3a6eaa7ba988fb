"""`cnncc compile`."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import Reporter, human_bytes, print_json, print_line, print_table
from .networks import NetworkName, Seed, Settings, WeightsFile, is_language, network_options
from .options import Constants, Fallback, Json, Quiet, Shapes, Target, Threads

if TYPE_CHECKING:
    from ..ir import Graph
    from ..plan import Plan
    from ..runtime.cpu.tuning.explain import ConvChoice


class Accuracy(enum.StrEnum):
    HIGH = "high"
    DEFAULT = "default"
    FAST = "fast"
    TF32 = "tf32"


def compile_(
        model: Annotated[Path, typer.Argument(help="An ONNX model, or a network in a .cnn file.")],
        output: Annotated[Path | None, typer.Option(
            "--output", "-o", help="The plan to write.", show_default="MODEL.plan")] = None,
        level: Annotated[int, typer.Option(
            "--level", "-O", min=0, max=2, help="0: as it is; 1: clean up; 2: fold and fuse.")] = 2,
        shapes: Shapes = None,
        constants: Constants = None,
        weights: WeightsFile = None,
        seed: Seed = 0,
        network: NetworkName = None,
        settings: Settings = None,
        accuracy: Annotated[Accuracy, typer.Option(
            help="`high`: convolutions as direct sums only; `default`: also by Winograd's F(m,3) up to F(5,3); "
                 "`fast`: and by F(6,3), whose errors are a few times larger; `tf32`: with --target cuda, products on "
                 "tensor cores, of numbers rounded to 11 bits.")
        ] = Accuracy.DEFAULT,
        dump_ir: Annotated[Path | None, typer.Option(
            "--dump-ir", help="A folder for the IR text after each pass that changed it.")] = None,
        no_fallback: Annotated[bool, typer.Option(
            "--no-fallback", help="Refuse a model of which a node has no native kernel.")] = False,
        tune: Annotated[bool, typer.Option(
            "--tune", help="Measure the kernels that each convolution could have, and take the fastest.")] = False,
        explain: Annotated[bool, typer.Option(
            "--explain", help="Show what was chosen for each convolution, and from what.")] = False,
        target: Annotated[Target, typer.Option(
            help="`cuda`: for NVIDIA GPUs; none need be here to compile for one.")] = Target.CPU,
        fallback: Annotated[Fallback, typer.Option(
            help="With --target cuda, `cpu`: nodes without a CUDA kernel run on the CPU, with copies that are steps.")
        ] = Fallback.NONE,
        device: Annotated[str | None, typer.Option(
            help="With --target cuda, what tiles are chosen for: h100 or a100.", show_default="the GPU here, or h100")
        ] = None,
        threads: Threads = None,
        as_json: Json = False,
        quiet: Quiet = False) -> None:
    """Compiles a model into a plan.

    What --tune finds, for as many threads as --threads says, is kept beside the kernel cache and not measured again.
    In the table of --explain, u is 2^-24, estimates are millions of vector FMAs, with --target cuda microseconds of a
    GPU (of alternatives: times that of the kernel chosen), and times are those of the last tuning on this machine.

        cnncc compile resnet50.onnx -o resnet50.plan

        cnncc compile detector.onnx --shape N=1 --shape H=480 --shape W=640

        cnncc compile unet.onnx --shape image=1x3x?x? --shape image_d2=32..1024

        cnncc compile resnet50.onnx -O0 --dump-ir passes/

        cnncc compile resnet50.onnx --shape N=1 --tune --explain

        cnncc compile resnet50.cnn --weights resnet50.safetensors --shape N=1

        cnncc compile resnet50.onnx -o resnet50.cuda.plan --target cuda
    """
    from ..compiler import compile
    from ..errors import InputError
    from ..frontends import load_graph
    from .feeds import read_constants
    from .files import check_writable
    from .shapes import parse_shapes

    if target is Target.CUDA and tune:
        raise InputError("--tune is for the CPU's kernels: leave it out with --target cuda")
    path = output or model.with_suffix(".plan")
    check_writable(path)
    source: Path | Graph = model
    sizes, fixed = parse_shapes(shapes), read_constants(constants)
    options = network_options(model, weights, seed, network, settings)
    if is_language(model):
        source = load_graph(model, shapes={n: s for n, s in sizes.items() if not isinstance(s, (int, range))},
                            constants=fixed, **options)
        sizes, fixed = {n: s for n, s in sizes.items() if isinstance(s, (int, range))}, {}
    with Reporter(quiet) as reporter:
        plan = compile(source, level=level, shapes=sizes, constants=fixed, accuracy=accuracy.value, dump_ir=dump_ir,
                       allow_fallback=not no_fallback, tune=tune, threads=threads, target=target.value,
                       fallback=fallback.value, device=device, on_event=reporter.event)
        plan.save(path)
        choices = _explained(plan, accuracy.value, threads, device) if explain else []
    for step in plan.fallbacks:
        where = "runs on its NumPy reference" if target is Target.CPU else "runs on the CPU, between copies"
        reporter.say(f"warning: '{step.name}' ({step.op.op_type}) {where}: {step.reason}")
    facts = summary(plan)
    if as_json:
        print_json({"plan": str(path)} | facts | ({"convolutions": [asdict(c) for c in choices]} if explain else {}))
    else:
        if explain:
            _print(choices)
        reporter.say(f"wrote {path}: {facts['steps']} steps, {human_bytes(facts['weight_bytes'])} of weights"
                     + (f", an arena of {human_bytes(plan.arena.size)}" if plan.arena else ""))


def _explained(plan: Plan, accuracy: str, threads: int | None, device: str | None) -> list[ConvChoice]:
    if plan.target == "cuda":
        from ..runtime.cuda import explain as cuda
        from ..runtime.cuda.devices import model_of

        return cuda.explain(plan, accuracy, model_of(device))
    from .. import __version__
    from ..environment import thread_count
    from ..runtime.cpu.tuning.explain import explain
    from ..runtime.cpu.tuning.findings import Findings

    return explain(plan, accuracy, Findings.load(plan.lanes, thread_count(threads), __version__))


def _print(choices: Sequence[ConvChoice]) -> None:
    def microseconds(seconds: float | None) -> str:
        return "" if seconds is None else f"{seconds * 1e6:.1f}"

    rows = [(c.name, c.shapes, c.chosen, c.bound, f"{c.estimate:.3f}", microseconds(c.seconds), c.reason or ", ".join(
        f"{a.candidate} {a.estimate:.2f}x" + (f" {microseconds(a.seconds)} us" if a.seconds else "")
        for a in c.alternatives)) for c in choices]
    columns = ("convolution", "x, w, y", "chosen", "error at most", "estimate", "us", "alternatives")
    print_table(columns, rows, right=("estimate", "us"))
    print_line()


def summary(plan: Plan) -> dict[str, Any]:
    """A plan in a few figures."""
    return {"name": plan.name, "target": plan.target, "steps": len(plan.steps), "fallbacks": len(plan.fallbacks),
            "weight_bytes": plan.weight_bytes,
            "arena_bytes": plan.arena.size if plan.arena else None,
            "lower_bound_bytes": plan.arena.lower_bound if plan.arena else None}
