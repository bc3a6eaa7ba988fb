"""What the lowerings of Conv, ConvTranspose and DeformConv share, of both targets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ....errors import PlanInvalid
from ....ir import DimLike, DType
from ..lowering import Tensor

__all__ = ["assume_sizes", "integer_parameter", "refuse_operands", "tile_parameter"]


def refuse_operands(x: Tensor, w: Tensor, b: Tensor | None, name: str, have: str) -> str:
    """Why no kernel takes these operands, empty where one may: `name` is the operator's, in words, and `have` what
    there is for it, such as "are native"."""
    if x.type.dtype is not DType.F32:
        return f"{name}s {have} for f32 only, not {x.type.dtype.value}"
    if not w.constant or w.value is None or (b is not None and not b.constant):
        return f"the weights of the {name} are computed at run time"
    if x.type.rank > 5:
        return f"{name}s {have} for up to 3 spatial axes, not {x.type.rank - 2}"
    return "there are no channels" if 0 in w.shape else ""


def assume_sizes(shape: Sequence[DimLike], images: int, size: int) -> tuple[int, ...]:
    """The shape to choose a kernel or a tile for: `images` for a symbolic batch, `size` for other symbolic axes."""
    return tuple(d if isinstance(d, int) else images if axis == 0 else size for axis, d in enumerate(shape))


def integer_parameter(params: Mapping[str, int | str], name: str) -> int:
    """An integer that the plan has for its kernel. Raises PlanInvalid where it is none."""
    value = params.get(name)
    if not isinstance(value, int):
        raise PlanInvalid(f"the kernel's parameter '{name}' must be an integer, not {value!r}")
    return value


def tile_parameter(params: Mapping[str, int | str], tiles: Collection[tuple[int, int]]) -> tuple[int, int]:
    """The plan's register tile, (rows, vectors). Raises PlanInvalid unless it is among the tiles."""
    tile = integer_parameter(params, "rows"), integer_parameter(params, "vectors")
    if tile not in tiles:
        raise PlanInvalid(f"there is no register tile of {tile[0]} rows and {tile[1]} vectors")
    return tile
