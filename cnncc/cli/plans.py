"""Plans for the verbs that work on one: read from a file, or compiled in memory from a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CnnccError
from .console import Reporter

if TYPE_CHECKING:
    import numpy as np

    from ..ir import TensorType
    from ..plan import Plan

__all__ = ["input_types", "open_plan", "sizes_of", "warm"]


def open_plan(path: Path, reporter: Reporter, target: str = "cpu") -> Plan:
    """The plan in the file `path`; an .onnx or .cnn file is compiled for `target` first. Raises CnnccError where it is
    neither."""
    from ..plan import Plan

    if path.suffix in (".onnx", ".cnn"):
        from ..compiler import compile

        return compile(path, target=target, on_event=reporter.event)
    return Plan.load(path)


def input_types(plan: Plan) -> dict[str, TensorType]:
    """The types of the plan's inputs by the names users give."""
    return {port.name: plan.buffers[port.buffer].type for port in plan.inputs}


def sizes_of(plan: Plan, feeds: Mapping[str, np.ndarray]) -> dict[str, int]:
    """The sizes that these inputs give the plan's symbolic dimensions."""
    pairs = [(str(d), size) for name, type_ in input_types(plan).items() if name in feeds
             for d, size in zip(type_.shape, feeds[name].shape, strict=False)]
    return {name: size for name, size in pairs if name in plan.symbols}


def warm(plan: Plan, sizes: Mapping[str, int], reporter: Reporter) -> None:
    """Compiles the kernels that the plan needs for these sizes and are not at hand, telling so; of a plan whose sizes
    depend on data, those up to there. Sizes that do not fit are left for the session to explain."""
    from ..compiler import kernel_warmer
    from ..runtime.cpu.regions import first_region

    warm_kernels = kernel_warmer(plan.target)
    if all(name in sizes for name in plan.symbols):
        try:
            binding = first_region(plan, sizes).binding
        except CnnccError:
            return
        warm_kernels(binding, reporter.event)
