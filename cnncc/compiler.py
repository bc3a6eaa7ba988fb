"""compile(): the whole way from a network to a plan, read top to bottom."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .ir import Dim, Graph
from .plan import Plan

if TYPE_CHECKING:
    import onnx

    from .passes.manager import PassRecord
    from .runtime.cpu.binding import Binding
    from .runtime.cpu.lower.conv import ConvLowering

__all__ = ["LEVELS", "compile", "kernel_warmer", "optimise", "warm_plan"]

LEVELS = (0, 1, 2)
TUNING_ROUNDS = 3
Event = Callable[[str, int, int], None]
Shapes = Mapping[str, "int | range | Sequence[int | str | Dim]"]
ASSUMED_SIZES = (64, 32, 8, 1)  # of symbolic dimensions, the first that fits, to find the kernels that a plan needs


def compile(model: str | Path | bytes | Graph | onnx.ModelProto, *, level: int = 2, shapes: Shapes | None = None,
            constants: Mapping[str, Any] | None = None, accuracy: str = "default", lanes: int | None = None,
            dump_ir: str | Path | None = None, allow_fallback: bool = True, warm: bool = True, tune: bool = False,
            threads: int | None = None, target: str = "cpu", fallback: str = "none", device: str | None = None,
            max_bytes: int | None = None, on_event: Event | None = None) -> Plan:
    """Compiles a network into a plan.

    Args:
        model: the path of an ONNX file, its bytes, an onnx.ModelProto, or a Graph (which is changed in place).
        level: 0 leaves the graph as it is, 1 cleans it up, 2 folds and fuses.
        shapes: sizes for symbolic dimensions (`{"N": 1}`), limits for them that are checked when sizes come
            (`{"N": range(1, 9)}`), or whole shapes of inputs (`{"image": [1, 3, "H", "W"]}`).
        constants: contents for inputs that never change, by name; they stop being inputs. An input that is a shape
            must be given here.
        accuracy: "high" computes every convolution as a direct sum; "default" also by Winograd's F(2,3), F(4,3) and
            F(5,3); "fast" by F(6,3) too; "tf32", for GPUs only, lets tensor cores multiply numbers that are rounded to
            11 bits (docs/numerics.md has their errors).
        lanes: floats of a vector to lay memory out for; by default this machine's.
        dump_ir: a folder for the IR text after each pass that changed it.
        allow_fallback: let nodes without a native kernel run on their NumPy references; `Plan.fallbacks` lists them.
        warm: compile the kernels that the plan needs into the kernel cache, so that no size makes a run wait for one.
        tune: measure the kernels that each convolution could have, a minute at most, and take the fastest. What is
            found is kept beside the kernel cache, and not measured again.
        threads: that `tune` measures with; by default as many as a session uses.
        target: "cpu", or "cuda" for NVIDIA GPUs; none need be at hand to compile for it.
        fallback: with the target cuda: "cpu" lets nodes without a CUDA kernel run on the CPU, with copies that are
            steps of the plan; with "none" they are an error that lists them all.
        device: with the target cuda, what tiles are chosen for: "h100" or "a100"; by default the GPU at hand, or H100.
        max_bytes: what a tensor of an ONNX model may have, and all its weights together; by default CNNCC_MAX_BYTES,
            or 16 GiB.
        on_event: told what is being done: `on_event(stage, done, total)`.

    Raises:
        ModelError: the model cannot be read; UnsupportedError lists everything in it that cannot be run.
    """
    from . import __version__
    from .lower import lower
    from .nonfinite import warn_of_weights
    from .runtime.cpu.lower.accuracy import ACCURACIES
    from .runtime.cpu.lower.conv import ConvLowering
    from .runtime.cpu.lower.table import LOWERINGS
    from .runtime.cpu.native import host_lanes
    from .runtime.cuda.lower.accuracy import ACCURACIES as CUDA_ACCURACIES

    tell = on_event or (lambda stage, done, total: None)
    tell("reading the model", 0, 1)
    shapes = shapes or {}
    graph = _load(model, {n: s for n, s in shapes.items() if not isinstance(s, range)}, constants or {}, max_bytes)
    ranges = _ranges(graph, {n: s for n, s in shapes.items() if isinstance(s, range)})
    optimise(graph, level, target=target, dump_ir=dump_ir, on_event=tell)
    warn_of_weights(graph)
    tell("choosing kernels", 0, 1)
    accuracies = CUDA_ACCURACIES if target == "cuda" else ACCURACIES
    if accuracy not in accuracies:
        raise InputError(f"the target {target} has no accuracy '{accuracy}': it is one of {', '.join(accuracies)}")

    if target != "cpu":
        plan = _for_cuda(graph, target, fallback, device, accuracy)
        return _finished(plan, ranges, warm, tell)

    def lowered(conv: ConvLowering) -> Plan:
        return lower(graph, {**LOWERINGS, "Conv": conv}, lanes or host_lanes(), allow_fallback=allow_fallback,
                     producer=f"cnncc {__version__}")

    plan = lowered(ConvLowering(accuracy))
    if tune:
        plan = _tuned(plan, lowered, accuracy, threads, tell)
    return _finished(plan, ranges, warm, tell)


def _finished(plan: Plan, ranges: Mapping[str, tuple[int, int]], warm: bool, tell: Event) -> Plan:
    """The plan with its limits, its memory if that is known, and its kernels in the cache."""
    from .runtime.cpu.binding import bind

    plan = dataclasses.replace(plan, ranges=ranges)
    if plan.is_static:
        tell("planning memory", 0, 1)
        plan = dataclasses.replace(plan, arena=bind(plan, {}).storage.arena)
    if warm:
        warm_plan(plan, tell)
    return plan


def _for_cuda(graph: Graph, target: str, fallback: str, device: str | None, accuracy: str) -> Plan:
    """The plan for a GPU. Raises UnsupportedError, listing every node that has no CUDA kernel, unless `fallback` is
    "cpu"."""
    from . import __version__
    from .errors import UnsupportedError
    from .lower import lower
    from .runtime.cpu.lower.table import LOWERINGS as OUTSIDE
    from .runtime.cpu.native import host_lanes
    from .runtime.cuda.devices import model_of
    from .runtime.cuda.lower.table import lowerings_for
    from .runtime.cuda.lowering import LANES

    if target != "cuda":
        raise InputError(f"there is no target '{target}': it is cpu or cuda")
    if fallback not in ("none", "cpu"):
        raise InputError(f"fallback must be none or cpu, not '{fallback}'")
    plan = lower(graph, lowerings_for(accuracy, model_of(device)), LANES, allow_fallback=fallback == "cpu",
                 producer=f"cnncc {__version__}", target="cuda", outside=(OUTSIDE, host_lanes()))
    if plan.is_dynamic:
        raise UnsupportedError(f"'{graph.name}' has sizes that depend on data, with which the target cuda cannot run: "
                               "compile it for the CPU, or fix the sizes")
    return plan


def warm_plan(plan: Plan, tell: Event) -> None:
    """Compiles the kernels that a plan and the bodies in it need, unless the kernel cache has them; for a GPU, if one
    is at hand."""
    for piece in plan.walk():
        _warm(piece, tell)


def _ranges(graph: Graph, given: Mapping[str, range]) -> dict[str, tuple[int, int]]:
    """Least and greatest sizes of the graph's symbolic dimensions."""
    for name, sizes in given.items():
        _check_symbol(graph, name)
        if not sizes or sizes.step != 1 or sizes.start < 0:
            raise InputError(f"the dimension {name} cannot be limited to {sizes}: give a least and a greatest size")
    return {name: (sizes[0], sizes[-1]) for name, sizes in given.items()}


def _check_symbol(graph: Graph, name: str) -> None:
    if name not in graph.symbols:
        raise InputError(f"the network has no symbolic dimension '{name}'; it has {', '.join(graph.symbols) or 'none'}")


def kernel_warmer(target: str) -> Callable[[Binding, Event], None]:
    """What puts the kernels of a bound plan into the kernel cache; for a GPU that is not at hand, nothing."""
    if target == "cpu":
        from .runtime.cpu.execution import warm_kernels

        return warm_kernels
    from .runtime.cuda.codegen import warm_kernels as warm_cuda
    from .runtime.cuda.driver import missing

    return warm_cuda if missing() is None else lambda binding, tell: None


def _warm(plan: Plan, tell: Event) -> None:
    """Compiles the kernels of a plan; of one with symbolic sizes, for sizes that it may have: kernels do not depend on
    them. Where none of ASSUMED_SIZES fits, kernels are compiled when they are first needed."""
    from .errors import CnnccError
    from .runtime.cpu.regions import assumed_regions

    warm_kernels = kernel_warmer(plan.target)
    for size in ASSUMED_SIZES:
        sizes = {s: min(max(size, plan.ranges.get(s, (0, size))[0]), plan.ranges.get(s, (0, size))[1])
                 for s in plan.symbols}
        try:
            bindings = [region.binding for region in assumed_regions(plan, sizes, size)]
        except CnnccError:
            continue
        for binding in bindings:
            warm_kernels(binding, tell)
        return


def _tuned(plan: Plan, lowered: Callable[[ConvLowering], Plan], accuracy: str, threads: int | None,
           tell: Event) -> Plan:
    """The plan with the kernels that measure best. They may change the layouts that others find, which is why the new
    plan is looked at again."""
    from . import __version__
    from .environment import thread_count
    from .runtime.cpu.native import host_lanes
    from .runtime.cpu.tuning.findings import Findings
    from .runtime.cpu.tuning.tune import TunedConvLowering, is_cold
    from .runtime.cpu.tuning.tune import tune as measure_missing

    if plan.lanes != host_lanes():
        raise InputError(f"a plan for vectors of {plan.lanes} floats cannot be tuned on a machine whose vectors have "
                         f"{host_lanes()}: leave out lanes or tune")
    count = thread_count(threads)
    findings = Findings.load(plan.lanes, count, __version__)
    for _ in range(TUNING_ROUNDS):
        missing = measure_missing(plan, accuracy, findings, count, tell)
        plan = lowered(TunedConvLowering(accuracy, findings, is_cold(plan.weight_bytes)))
        if not missing:
            break
    return plan


def optimise(graph: Graph, level: int = 2, *, target: str = "", dump_ir: str | Path | None = None,
             on_event: Event | None = None) -> list[PassRecord]:
    """Runs the pipeline of `level`, and at level 2 the target's if there is one, on the graph, in place; one record for
    each pass that ran."""
    from .passes.manager import run_passes
    from .passes.pipeline import PIPELINES, TARGETS

    if level not in PIPELINES:
        raise InputError(f"there is no optimisation level {level}: it is one of {', '.join(map(str, PIPELINES))}")
    pipeline = (*PIPELINES[level], *(TARGETS.get(target, ()) if level == 2 else ()))
    count = sum(len(p) if isinstance(p, tuple) else 1 for p in pipeline)
    seen = 0

    def told(record: PassRecord) -> None:
        nonlocal seen
        seen += 1
        if on_event is not None:
            on_event("optimising the graph", min(seen, count), count)

    return run_passes(graph, pipeline, dump=dump_ir, on_pass=told)


def _load(model: str | Path | bytes | Graph | onnx.ModelProto, shapes: Shapes, constants: Mapping[str, Any],
          max_bytes: int | None) -> Graph:
    inputs = {name: shape for name, shape in shapes.items() if not isinstance(shape, int)}
    sizes = {name: size for name, size in shapes.items() if isinstance(size, int)}
    if isinstance(model, Graph):
        graph = model
        if inputs or constants:
            raise InputError("the inputs of a Graph are its own: bind its symbolic dimensions instead of their shapes")
    else:
        from .frontends import load_graph

        graph = load_graph(model, shapes=inputs, constants=constants, max_bytes=max_bytes)
    for name, size in sizes.items():
        _check_symbol(graph, name)
        if size < 0:
            raise InputError(f"the dimension {name} cannot be {size}")
    if sizes:
        for value in graph.inputs:
            value.type = value.type.bind(sizes)
        graph.reinfer()
    return graph
