"""`--shape NAME=...`: sizes for symbolic dimensions, or a whole shape for an input."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..errors import InputError

__all__ = ["parse_shapes", "parse_sizes"]


def parse_shapes(given: Sequence[str] | None) -> dict[str, Any]:
    """`N=1` as {"N": 1}, `N=1..8` as {"N": range(1, 9)}, and `image=N,3,224,224` as {"image": ("N", 3, 224, 224)}.

    A shape of numbers and question marks may be written with x: `image=1x3x?x?`. Each ? is a dimension of its own.
    """
    found: dict[str, Any] = {}
    for text in given or ():
        name, _, right = text.rpartition("=")
        limits = re.fullmatch(r"(\d+)\.\.(\d+)", right.strip())
        if name and limits:
            found[name] = range(int(limits[1]), int(limits[2]) + 1)
            continue
        parts = [part.strip() for part in right.split("x" if re.fullmatch(r"(\d+|\?)(x(\d+|\?))+", right) else ",")]
        if not name or not all(re.fullmatch(r"\d+|\?|[A-Za-z_]\w*", part) for part in parts):
            raise InputError(f"'{text}' is not a shape; write --shape N=1 or --shape N=1..8 for a dimension, or "
                             "--shape image=N,3,224,224 or --shape image=1x3x?x? for an input")
        parts = [f"{re.sub(r'[^A-Za-z0-9_]', '_', name)}_d{axis}" if part == "?" else part
                 for axis, part in enumerate(parts)]
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
