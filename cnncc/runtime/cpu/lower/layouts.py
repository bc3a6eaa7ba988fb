"""What lowerings share: which layout suits an operand, and the check of those that a plan has."""

from __future__ import annotations

from collections.abc import Sequence

from ....errors import PlanInvalid
from ....ir import DType, Op, TensorType
from ..lowering import BLOCKED, PLAIN, Tensor

__all__ = ["BLOCKABLE", "can_block", "expect_layouts", "lift", "preferred_layout"]


BLOCKABLE = (DType.F32, DType.I32, DType.I8, DType.U8)


def can_block(type_: TensorType) -> bool:
    """Whether a tensor may be stored blocked: [N, C, spatial...] of f32, or of what integer kernels read and write."""
    return type_.dtype in BLOCKABLE and type_.rank >= 3


def preferred_layout(x: Tensor, lanes: int) -> str:
    """Blocked for an operand that is so already or has enough channels to be worth it, else plain."""
    if not can_block(x.type):
        return PLAIN
    channels = x.type.shape[1]
    worth = isinstance(channels, int) and 4 * channels >= lanes
    return BLOCKED if x.layout == BLOCKED or worth else PLAIN


def expect_layouts(op: Op, tensors: Sequence[Tensor | None], layouts: Sequence[str]) -> None:
    """Raises PlanInvalid unless the tensors have these layouts and may have them; constants are packed as needed."""
    for tensor, layout in zip(tensors, layouts, strict=True):
        if tensor is not None and not tensor.constant and tensor.layout != layout:
            raise PlanInvalid(f"{op.op_type} has no kernel that takes or gives {tensor.type} {tensor.layout} here, "
                              f"only {layout}")
        if (tensor is not None and layout == BLOCKED and not can_block(tensor.type)
                and not (tensor.constant and tensor.type.dtype in BLOCKABLE)):
            raise PlanInvalid(f"{op.op_type}: a tensor {tensor.type} cannot be stored blocked")


def lift(values: Sequence[int], fill: int) -> tuple[int, int, int]:
    """One number for each of up to three spatial axes as three, the leading ones filled up."""
    three = (*(fill,) * (3 - len(values)), *values)
    return three[0], three[1], three[2]
