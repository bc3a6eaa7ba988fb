"""The matrices of Winograd's F(m, 3): y = A^T [(G w) * (B^T x)] gives m outputs of a correlation with 3 taps.

Lavin & Gray 2015 (arXiv:1509.09308). x has n = m + 2 elements, the product is elementwise. The interpolation points are
0, 1, -1, (2, -2, (1/2, -1/2)), infinity. All elements of ``BACKWARD`` and ``FORWARD`` are exact in float32. ``m`` = 1
with one tap is the axis that is not transformed: n = 1, and each matrix is [1].
"""

import numpy as np

# A^T [m, n]
BACKWARD = {
    1: ((1.0,),),
    2: ((1, 1, 1, 0), (0, 1, -1, -1)),
    4: ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
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
    6: ((1, 0, 0), (1, 1, 1), (1, -1, 1), (1, 2, 4), (1, -2, 4), (4, 2, 1), (4, -2, 1), (0, 0, 1)),
}
NUMERATORS = {1: (1,), 2: (2, 1, 1, 2), 4: (6, -4, -4, 1, 1, 24), 6: (90, -20, -20, 1, 1, 16, 16, 90)}
DENOMINATOR = {1: 1, 2: 2, 4: 24, 6: 90}
WEIGHTS = {
    m: tuple(tuple(n * v / DENOMINATOR[m] for v in row) for n, row in zip(NUMERATORS[m], UNSCALED[m], strict=True))
    for m in UNSCALED
}


def transform_weights(m: tuple[int, int]) -> np.ndarray:
    """[n_h * n_w, taps_h * taps_w] float64: what a kernel's taps, in C order, become at each point."""
    return np.kron(np.array(WEIGHTS[m[0]], float), np.array(WEIGHTS[m[1]], float))
