"""`--shape NAME=...`: sizes for symbolic dimensions, or a whole shape for an input."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import InputError

__all__ = ["parse_shapes", "parse_sizes"]


def parse_shapes(given: Sequence[str] | None) -> dict[str, int | tuple[int | str, ...]]:
    """`N=1` as {"N": 1}, and `image=N,3,224,224` as {"image": ("N", 3, 224, 224)}."""
    found: dict[str, int | tuple[int | str, ...]] = {}
    for text in given or ():
        name, _, right = text.rpartition("=")
        parts = [part.strip() for part in right.split(",")]
        if not name or not all(re.fullmatch(r"\d+|[A-Za-z_]\w*", part) for part in parts):
            raise InputError(f"'{text}' is not a shape; write --shape N=1 for a dimension, or "
                             "--shape image=N,3,224,224 for an input")
        dims = tuple(int(part) if part.isdecimal() else part for part in parts)
        found[name] = dims[0] if len(dims) == 1 and isinstance(dims[0], int) else dims
    return found


def parse_sizes(given: Sequence[str] | None) -> dict[str, int]:
    """`N=1` as {"N": 1}; a whole shape is refused."""
    sizes = {}
    for name, value in parse_shapes(given).items():
        if not isinstance(value, int):
            raise InputError(f"--shape {name} takes one number here: the size of the dimension '{name}'")
        sizes[name] = value
    return sizes
