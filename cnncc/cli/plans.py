"""Plans for the verbs that work on one: read from a file, or compiled in memory from a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .console import Reporter

if TYPE_CHECKING:
    from ..ir import TensorType
    from ..plan import Plan

__all__ = ["input_types", "open_plan"]


def open_plan(path: Path, reporter: Reporter) -> Plan:
    """The plan in the file `path`; an .onnx file is compiled first. Raises CnnccError where it is neither."""
    from ..plan import Plan

    if path.suffix == ".onnx":
        from ..compiler import compile

        return compile(path, on_event=reporter.event)
    return Plan.load(path)


def input_types(plan: Plan) -> dict[str, TensorType]:
    """The types of the plan's inputs by the names users give."""
    return {port.name: plan.buffers[port.buffer].type for port in plan.inputs}
