"""AffineGrid: theta [N, r, r + 1] times (x, y, [z,] 1) for every element of a picture or volume; a task is a row of it.

Places are computed in double precision and rounded once, as in the reference.
"""

import math

from cnncc.runtime.cpu.kernel import Kernel, Launch, make_params

OPERANDS = ("theta", "y")
DIMS = ("depth", "height", "width")
Three = tuple[int, int, int]


def launch(images: int, size: Three, rank: int, align: bool) -> Launch:
    """The step for float32; of a ``size`` with ``rank`` 2 the depth is 1."""
    count = images * math.prod(size)
    return Launch(
        KERNEL, make_params(rank=rank, align=int(align)), size, images * size[0] * size[1] if size[2] else 0,
        reads={"theta": (0, 4 * images * rank * (rank + 1))}, writes={"y": (0, 4 * count * rank)},
    )  # fmt: skip


def build(rank: int, align: int):
    import numpy as np
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.memory_access import load_f32, load_words, store_f32

    words, row, item = len(OPERANDS) + len(DIMS), 4 * (rank + 1), 4 * rank

    @register_jitable
    def place(i, size):
        """Where an element of an axis lies between -1 and 1."""
        if align:
            return np.float32(i * (2.0 / (size - 1)) - 1.0) if size > 1 else np.float32(0.0)
        return np.float32((2.0 * i + 1.0) / size - 1.0)

    def affine_grid(args, begin, end):
        thetas, y, depth, height, width = load_words(args, words)
        for task in range(begin, end):
            theta, to = thetas + task // (depth * height) * rank * row, y + task * width * item
            down, far = place(task % height, height), place(task // height % depth, depth)
            for i in range(width):
                along = place(i, width)
                for axis in range(rank):
                    at = theta + axis * row
                    total = load_f32(at) * along + load_f32(at + 4) * down
                    if rank == 3:
                        total += load_f32(at + 8) * far
                    store_f32(to + i * item + 4 * axis, total + load_f32(at + row - 4))

    return affine_grid


KERNEL = Kernel("affine_grid", OPERANDS, DIMS, build)
