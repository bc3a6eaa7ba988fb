"""The plan: what the compiler hands to a runtime. Data only: operators, kernel names, integers, types and weights.

A plan is a list of steps over numbered buffers in single assignment. It keeps each step's operator with its
attributes, so that every shape, size and byte range can be derived from it again and compared (see `plan_checks` and
`runtime.cpu.binding`). Sizes may be symbolic; a runtime binds them when inputs arrive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .ir import Op, TensorType
from .records import record

__all__ = ["ALIAS", "BODY", "KNOWN", "REFERENCE", "REORDER", "Arena", "Buffer", "TARGETS", "Plan", "Port",
           "Step"]

Array = np.ndarray[Any, Any]

# Kernel names that mean no kernel of the runtime's tables.
ALIAS = "alias"          # the output is the input's memory: nothing is done
KNOWN = "known"          # shape arithmetic: evaluated when the shapes are bound
REFERENCE = "reference"  # runs on the operator's NumPy reference
BODY = "body"            # If, Loop and Scan: runs the plans of its operator
REORDER = "reorder"      # from one layout, or one memory, to another; its operator is Identity

MAX_DEPTH = 16  # of bodies within bodies
TARGETS = {"cpu": (4, 8, 16), "cuda": (1,)}  # the floats of a vector that plans are made for, by target


@record
class Buffer:
    """A tensor of the plan: its logical (NCHW) type and the layout it is stored in."""

    name: str
    type: TensorType
    layout: str = "plain"


@record
class Step:
    """One operator on numbered buffers. `params` are the kernel's parameters; `reason` says why a step has none."""

    name: str
    op: Op
    kernel: str
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    params: Mapping[str, int | str] = field(default_factory=dict)
    reason: str = ""


@record
class Port:
    """An input or output of the model: the name the user knows, and its buffer."""

    name: str
    buffer: int


@record
class Arena:
    """Where buffers lie in the one block of memory of a run, in bytes. `lower_bound` is the largest sum of live bytes:
    no placement can be smaller."""

    size: int
    lower_bound: int
    offsets: Mapping[int, int]


@record
class Plan:
    """An executable network.

    Attributes:
        name: of the network.
        target: "cpu" or "cuda".
        lanes: floats of a vector for which blocked layouts were chosen; 1 on the target "cuda", which has none.
        buffers: all tensors, referred to by number.
        steps: in order of execution.
        inputs, outputs: in the model's order.
        weights: contents of constant buffers, in the model's own layout.
        arena: the memory plan, if all shapes are fixed; otherwise None, and it is made when they are bound.
        producer: what wrote the plan; information only.
        ranges: the least and the greatest size that a symbolic dimension of the inputs may have, where that is limited.
        checksum: of the file that it was read from, otherwise empty: what tells one plan file from another.
    """

    name: str
    target: str
    lanes: int
    buffers: tuple[Buffer, ...]
    steps: tuple[Step, ...]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    weights: Mapping[int, Array]
    arena: Arena | None = None
    producer: str = ""
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    checksum: str = field(default="", compare=False, repr=False)

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """The symbolic dimensions that inputs bind, in order of appearance."""
        found = [s for port in self.inputs for s in sorted(self.buffers[port.buffer].type.symbols)]
        return tuple(dict.fromkeys(found))

    @property
    def is_static(self) -> bool:
        """Whether all sizes are fixed."""
        return not self.symbols and not self.is_dynamic

    @cached_property
    def is_dynamic(self) -> bool:
        """Whether there are sizes that do not follow from those of the inputs, but from the data."""
        given = set(self.symbols)
        return any(not b.type.is_static and not b.type.symbols <= given for b in self.buffers)

    @property
    def fallbacks(self) -> tuple[Step, ...]:
        """The steps that run on a NumPy reference, those of bodies included; of a plan for a GPU also those with
        bodies, which run on the CPU."""
        return tuple(s for plan in self.walk() for s in plan.steps
                     if s.kernel == REFERENCE or (s.kernel == BODY and plan.target != "cpu"))

    @property
    def weight_bytes(self) -> int:
        """Of all weights, each counted once."""
        return sum(w.nbytes for w in {id(w): w for plan in self.walk() for w in plan.weights.values()}.values())

    @property
    def signature(self) -> tuple[tuple[TensorType, ...], tuple[TensorType, ...]]:
        """The types of the inputs and of the outputs."""
        types = [tuple(self.buffers[port.buffer].type for port in ports) for ports in (self.inputs, self.outputs)]
        return types[0], types[1]

    def first_result(self, number: int) -> tuple[bool, Array | None]:
        """Whether the first output is the input of this number, and its contents where it is a constant."""
        buffer = self.outputs[0].buffer
        return buffer == self.inputs[number].buffer, self.weights.get(buffer)

    def walk(self) -> Iterator[Plan]:
        """This plan and the plans of bodies within it."""
        yield self
        for step in self.steps:
            for body in step.op.bodies.values():
                yield from body.walk()

    def __reduce__(self) -> tuple[Any, ...]:
        """Plans are pickled as the bytes of their files."""
        from .planfile import parse_plan, plan_bytes

        return parse_plan, (plan_bytes(self),)

    def save(self, path: str | Path) -> None:
        """Writes the plan file atomically: the old file, if there is one, or the whole new one is there."""
        from .planfile import write_plan

        write_plan(self, Path(path))

    @staticmethod
    def load(path: str | Path) -> Plan:
        """Reads and checks a plan file. Raises PlanCorrupt, PlanInvalid or PlanVersionError."""
        from .planfile import read_plan

        return read_plan(Path(path))
