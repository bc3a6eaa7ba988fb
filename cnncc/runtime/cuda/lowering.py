"""How an operator becomes CUDA kernel launches: the CPU's contract (runtime/cpu/lowering.py), with one layout.

Tensors are `plain`, C order, in the device's memory: convolutions read and write rows of pixels, so no other layout
would be faster for them, and nothing is ever reordered. A buffer of the layout `host` is in the CPU's memory; a reorder
step between the two is a copy. `lanes` is 1 and means nothing.
"""

from __future__ import annotations

import math

from ...errors import PlanInvalid
from ..cpu.lowering import HOST, PLAIN, Choice, Lowering, Refusal, Tensor
from .kernel import Launch

__all__ = ["COPY", "HOST", "LANES", "PLAIN", "Choice", "Lowering", "Refusal", "Tensor", "launch_copy"]

LANES = 1
COPY = "copy_between_memories"


def launch_copy(source: Tensor, target: Tensor) -> Launch:
    """A copy from the device's memory to the CPU's, or back."""
    if {source.layout, target.layout} != {HOST, PLAIN} or source.type != target.type:
        raise PlanInvalid(f"a reorder step copies between memories, not {source.type} {source.layout} to "
                          f"{target.type} {target.layout}")
    size = math.prod(source.shape) * source.type.dtype.itemsize
    return Launch(COPY, (), {"x": (0, size)}, {"y": (0, size)})
