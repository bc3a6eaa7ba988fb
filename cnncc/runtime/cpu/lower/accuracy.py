"""How exact convolutions and matrix products are, in units of u = 2^-24, and what each accuracy allows.

Bounds are on rounding errors that are as good as random: they hold for all that was measured (docs/numerics.md),
hostile numbers included, not for errors that all point one way, of which n terms may add up to n u.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["ACCURACIES", "STRASSEN", "allowed_forms", "concentration", "strassen_bound", "sum_bound",
           "winograd_bounds"]

Array = np.ndarray[Any, Any]

# A convolution in another form than direct sums: the m of F(m,3), or one level of Strassen's algorithm for 1x1.
STRASSEN = "strassen"

# What may be chosen besides direct sums.
ACCURACIES: dict[str, tuple[int | str, ...]] = {
    "high": (), "default": (2, 4, 5, STRASSEN), "fast": (2, 4, 5, 6, STRASSEN)}

# F(m,3): the error relative to max|x| of a tile times sum|w|, for many channels and weights of concentration 1; and
# up to which concentration it is chosen.
WINOGRAD = {2: (3.0, 20.0), 4: (20.0, 5.0), 5: (28.0, 5.0), 6: (32.0, 5.0)}

FEW_CHANNELS = 16
PIECE = 1 << 15  # weights that are looked at together: they stay in a cache

# The largest weight of an output channel where transforms neither overflow nor lose bits to underflow.
MODERATE = 2.0**-80, 2.0**80


def sum_bound(terms: int) -> float:
    """Of a sum of products in any order, relative to sum|x||w|: 16, but where one term may outweigh many others."""
    return min(max(16.0, 3.0 * math.sqrt(terms)), max(16.0, terms + 2.0))


def winograd_bounds(m: int, w: Array) -> Array:
    """Of F(m,3), for each output channel, relative to the largest |x| of a tile times the sum of the channel's |w|.

    Errors of few input channels do not average out."""
    return WINOGRAD[m][0] * math.sqrt(1 + FEW_CHANNELS / w.shape[1]) * concentration(w)


def strassen_bound(channels: int) -> float:
    """Of Strassen's algorithm, relative to the largest |x| of two paired pixels times the sum of an output channel's
    |w|. Output channels are scaled alike, so none gets another's errors."""
    return 3 * sum_bound(channels)


def concentration(w: Array) -> Array:
    """The root mean square of an output channel's weights over the mean of |w|: 1 where all are equal, 1.25 where they
    are normal, the root of their number where all but one are zero. Rounding errors of F(m,3) grow with it."""
    rows, mean, square = w.reshape(len(w), -1), np.empty(len(w)), np.empty(len(w))
    step = max(1, PIECE // max(1, rows.shape[1]))
    for i in range(0, len(w), step):
        piece = np.abs(rows[i:i + step], dtype=np.float64)
        mean[i:i + step] = piece.mean(1)
        square[i:i + step] = np.square(piece, out=piece).mean(1)
    return np.divide(np.sqrt(square), mean, out=np.ones(len(w)), where=mean > 0)


def allowed_forms(accuracy: str, w: Array) -> frozenset[int | str]:
    """The forms in which a convolution with these weights may be computed: Strassen's for one tap, else F(m,3)."""
    pointwise = math.prod(w.shape[2:]) == 1
    forms = [form for form in ACCURACIES[accuracy] if (form == STRASSEN) == pointwise]
    if not forms or not _is_moderate(w):
        return frozenset()
    if pointwise:
        return frozenset(forms)
    concentrated = float(concentration(w).max(initial=1.0))
    return frozenset(m for m, (_, limit) in WINOGRAD.items() if m in forms and concentrated <= limit)


def _is_moderate(w: Array) -> bool:
    """False where a weight is NaN or infinite, too."""
    largest = np.abs(w.reshape(len(w), -1)).max(1, initial=0.0)
    return bool(np.all((largest == 0.0) | ((MODERATE[0] <= largest) & (largest <= MODERATE[1]))))
