"""What a plan would take on a GPU that is not at hand: a roofline, with the grain of blocks and the gaps of kernels.

For each kernel launch, from its grid and its work: the time of the busiest multiprocessor, whose blocks come in waves
of as many as fit; and the time its bytes take from device memory, all operands once. The larger of both counts, and the
gap before the next kernel. A prediction, never a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ...costs import cost
from ...plan import REORDER, Plan
from ...records import record
from ..cpu.binding import Binding, BoundStep, bind
from .devices import Device, issue_share, occupancy
from .kernel import Launch, Stage, Work, ceil_div
from .lower.table import lowerings_for
from .lowering import LANES
from .tf32 import on_tensor_cores
from .tiles import registers_of

__all__ = ["Layer", "Prediction", "predict"]

LIGHT_REGISTERS = 40  # of a thread of a kernel that is no matrix product
PCIE = 25e9           # bytes a second between the memories, for steps without a CUDA kernel


@record
class Layer:
    """One step. `flops` and `bytes` are what its kernels ask for, surplus of tiles included; `blocks` and `waves` are
    those of the kernel that computes most; `limit` is what takes longest: compute, memory, gaps, or the CPU (then
    `seconds` counts copies only)."""

    name: str
    op_type: str
    kernel: str
    shapes: str
    flops: float
    bytes: float
    blocks: int
    waves: float
    limit: str
    seconds: float


@record
class Prediction:
    """`seconds` is the sum of the layers', `flops` what the operators need, without the surplus of tiles."""

    name: str
    device: str
    layers: tuple[Layer, ...]
    flops: float

    @property
    def seconds(self) -> float:
        return sum(layer.seconds for layer in self.layers)

    def as_json(self) -> dict[str, Any]:
        return {"prediction": True, "name": self.name, "device": self.device, "seconds": self.seconds,
                "flops": self.flops, "layers": [vars(layer) for layer in self.layers]}


def predict(plan: Plan, device: Device, sizes: dict[str, int] | None = None, accuracy: str = "default") -> Prediction:
    """What a run of a plan for CUDA would take on a device, its inputs and outputs lying there already."""
    binding, lowerings, layers, flops = bind(plan, sizes or {}), lowerings_for(accuracy, device), [], 0.0
    for bound in binding.steps:
        inputs = [binding.tensor(plan, n) for n in bound.step.inputs]
        outputs = [binding.tensor(plan, n) for n in bound.step.outputs]
        needs = cost(bound.step.op, [None if t is None else t.type for t in inputs],
                     [t.type for t in outputs if t is not None])
        work = Work(2.0 * int(str(needs.macs)), float(int(str(needs.bytes))))
        flops += work.flops
        launch: Launch | None = bound.launch  # type: ignore[assignment]  # bound by this target's lowerings
        if launch is not None and bound.step.kernel != REORDER:  # with the tiles of that device
            launch = lowerings[bound.step.op.op_type].launch(
                bound.step.op, bound.choice, inputs, [t for t in outputs if t is not None], LANES)
        layers.append(_layer(bound, launch, work, device, _shapes(binding, bound)))
    return Prediction(plan.name, device.name, tuple(layers), flops)


def _layer(bound: BoundStep, launch: Launch | None, work: Work, device: Device, shapes: str) -> Layer:
    step = bound.step
    if launch is None or step.kernel == REORDER:
        moved = float(launch.reads["x"][1]) if launch is not None else 0.0
        return Layer(step.name, step.op.op_type, step.kernel, shapes, 0.0, moved, 0, 0.0, "CPU", moved / PCIE)
    times = {"compute": 0.0, "memory": 0.0, "gaps": device.launch * len(launch.stages)}
    total, flops, moved = times["gaps"], 0.0, 0.0
    for stage in launch.stages:
        own = stage.work or Work(work.flops / len(launch.stages), work.bytes / len(launch.stages))
        compute, memory = _compute(stage, own, device), _memory(stage, own, device)
        times["compute" if compute > memory else "memory"] += max(compute, memory)
        total += max(compute, memory)
        flops, moved = flops + own.flops, moved + own.bytes
    largest = max(launch.stages, key=lambda stage: stage.work.flops if stage.work else 0.0, default=None)
    blocks = math.prod(largest.grid) if largest else 0
    waves = blocks / (device.multiprocessors * _resident(largest, device)) if largest else 0.0
    limit = max(times, key=times.__getitem__)
    return Layer(step.name, step.op.op_type, launch.name, shapes, flops, moved, blocks, waves, limit, total)


def _resident(stage: Stage, device: Device) -> int:
    """Blocks that a multiprocessor holds at once."""
    params = dict(stage.params)
    registers = LIGHT_REGISTERS
    if stage.kernel.threads(**params) > 0:
        registers = registers_of(int(params.get("bm", 0)), int(params.get("bn", 0)), on_tensor_cores(params))
    return max(1, occupancy(device, math.prod(stage.block), registers, stage.shared))


def _compute(stage: Stage, work: Work, device: Device) -> float:
    """Of the busiest multiprocessor: its blocks in waves, each at the share of FMAs that so many warps issue."""
    blocks, warps = math.prod(stage.grid), ceil_div(math.prod(stage.block), 32)
    each = work.flops / blocks / (2 * device.multiply_adds(on_tensor_cores(dict(stage.params))))
    full, rest = divmod(ceil_div(blocks, device.multiprocessors), resident := _resident(stage, device))
    waves = full * resident * each / issue_share(resident * warps)
    return waves + (rest * each / issue_share(rest * warps) if rest else 0.0)


def _memory(stage: Stage, work: Work, device: Device) -> float:
    """From device memory, for whose whole bandwidth about 256 threads a multiprocessor must ask."""
    threads = math.prod(stage.grid) * math.prod(stage.block)
    return work.bytes / device.bandwidth / min(1.0, threads / (256 * device.multiprocessors))


def _shapes(binding: Binding, bound: BoundStep) -> str:
    """1x64x56x56, 64x64x3x3 -> 1x64x56x56; vectors (biases) are left out."""
    def text(numbers: Sequence[int | None]) -> str:
        types = [binding.types[n] for n in numbers if n is not None]
        return ", ".join("x".join(map(str, t.shape)) for t in types if t.rank > 1 or len(types) < 2)

    return f"{text(bound.step.inputs)} -> {text(bound.step.outputs)}"
