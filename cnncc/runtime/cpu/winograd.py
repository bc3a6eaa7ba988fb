"""The matrices of Winograd's F(m, 3): y = A^T [(G w) * (B^T x)] gives m outputs of a correlation with 3 taps.

Lavin & Gray 2015 (arXiv:1509.09308). x has n = m + 2 elements, the product is elementwise. The interpolation points are
0, 1, -1, (2, -2, (-1/2, (1/2))), infinity. All elements of ``BACKWARD`` and ``FORWARD`` are exact in float32. ``m`` = 1
with one tap is the axis that is not transformed: n = 1, and each matrix is [1].

With stride 2, m outputs need 2 m + 1 elements. The taps 0 and 2 meet those of even places, a correlation of stride 1
with 2 taps, for which F(m, 2) needs m + 1 products. Tap 1 meets the m of odd places. 2 m + 1 products instead of 3 m.
"""

from typing import NamedTuple

import numpy as np

Matrix = tuple[tuple[float, ...], ...]

# A^T [m, n]
BACKWARD = {
    1: ((1.0,),),
    2: ((1, 1, 1, 0), (0, 1, -1, -1)),
    4: ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
    5: (
        (1, 1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, -1 / 2, 0), (0, 1, 1, 4, 4, 1 / 4, 0), (0, 1, -1, 8, -8, -1 / 8, 0),
        (0, 1, 1, 16, 16, 1 / 16, 1),
    ),
    6: (
        (1, 1, 1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 1 / 2, -1 / 2, 0), (0, 1, 1, 4, 4, 1 / 4, 1 / 4, 0),
        (0, 1, -1, 8, -8, 1 / 8, -1 / 8, 0), (0, 1, 1, 16, 16, 1 / 16, 1 / 16, 0),
        (0, 1, -1, 32, -32, 1 / 32, -1 / 32, 1),
    ),
}  # fmt: skip

# B^T [n, n]
FORWARD = {
    1: ((1.0,),),
    2: ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    4: (
        (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0), (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
    5: (
        (2, 4, -5 / 2, -5, 1 / 2, 1, 0), (0, -2, -6, -7 / 2, 3 / 2, 1, 0), (0, 2, 2, -9 / 2, -1 / 2, 1, 0),
        (0, -1, -5 / 2, 0, 5 / 2, 1, 0), (0, 1, 3 / 2, -2, -3 / 2, 1, 0), (0, 4, 0, -5, 0, 1, 0),
        (0, 2, 4, -5 / 2, -5, 1 / 2, 1),
    ),
    6: (
        (1, 0, -21 / 4, 0, 21 / 4, 0, -1, 0), (0, 1, 1, -17 / 4, -17 / 4, 1, 1, 0),
        (0, -1, 1, 17 / 4, -17 / 4, -1, 1, 0), (0, 1 / 2, 1 / 4, -5 / 2, -5 / 4, 2, 1, 0),
        (0, -1 / 2, 1 / 4, 5 / 2, -5 / 4, -2, 1, 0), (0, 2, 4, -5 / 2, -5, 1 / 2, 1, 0),
        (0, -2, 4, 5 / 2, -5, -1 / 2, 1, 0), (0, -1, 0, 21 / 4, 0, -21 / 4, 0, 1),
    ),
}  # fmt: skip

# G [n, taps] is UNSCALED, line by line times NUMERATORS over DENOMINATOR. All these are exact in float32, G is not.
UNSCALED = {
    1: ((1.0,),),
    2: ((1, 0, 0), (1, 1, 1), (1, -1, 1), (0, 0, 1)),
    4: ((1, 0, 0), (1, 1, 1), (1, -1, 1), (1, 2, 4), (1, -2, 4), (0, 0, 1)),
    5: ((1, 0, 0), (1, 1, 1), (1, -1, 1), (1, 2, 4), (1, -2, 4), (4, -2, 1), (0, 0, 1)),
    6: ((1, 0, 0), (1, 1, 1), (1, -1, 1), (1, 2, 4), (1, -2, 4), (4, 2, 1), (4, -2, 1), (0, 0, 1)),
}
NUMERATORS = {
    1: (1,), 2: (2, 1, 1, 2), 4: (6, -4, -4, 1, 1, 24), 5: (22.5, -5, 15, 0.75, -1.25, -8, 45),
    6: (90, -20, -20, 1, 1, 16, 16, 90),
}  # fmt: skip
DENOMINATOR = {1: 1, 2: 2, 4: 24, 5: 45, 6: 90}
WEIGHTS = {
    m: tuple(tuple(n * v / DENOMINATOR[m] for v in row) for n, row in zip(NUMERATORS[m], UNSCALED[m], strict=True))
    for m in UNSCALED
}


class Axis(NamedTuple):
    """y = backward s / denominator; s[i] is the sum of the products starts[i] .. starts[i+1]-1; product p is that of
    the elements p of forward x and used[p] of weights w."""

    backward: Matrix  # [m, sums]
    forward: Matrix  # [products, n]
    weights: Matrix  # [rows, taps]
    starts: tuple[int, ...]
    used: tuple[int, ...]
    denominator: int = 1


# F(2,2) with the points 0, 1, infinity. The products of tap 1 are added to those that reach the same output only.
STRIDED = Axis(
    backward=((1, 1, 0), (0, 1, 1)),
    forward=((1, 0, -1, 0, 0), (0, 1, 0, 0, 0), (0, 0, 1, 0, 0), (0, 0, -1, 0, 1), (0, 0, 0, 1, 0)),
    weights=((1, 0, 0), (0, 1, 0), (1, 0, 1), (0, 0, 1)),
    starts=(0, 2, 3, 5),
    used=(0, 1, 2, 3, 1),
)


def axis_of(m: int, stride: int = 1) -> Axis:
    """F(m, 3) with weights that are UNSCALED, ``backward`` having their scales; with stride 2 m is 2, or 1."""
    if stride == 2 and m == 2:
        return STRIDED
    backward = tuple(tuple(v * n for v, n in zip(row, NUMERATORS[m], strict=True)) for row in BACKWARD[m])
    points = len(FORWARD[m])
    return Axis(backward, FORWARD[m], UNSCALED[m], tuple(range(points + 1)), tuple(range(points)), DENOMINATOR[m])


def transform_weights(m: tuple[int, int]) -> np.ndarray:
    """[n_h * n_w, taps_h * taps_w] float64: what a kernel's taps, in C order, become at each point."""
    return np.kron(np.array(WEIGHTS[m[0]], float), np.array(WEIGHTS[m[1]], float))
