"""The mean of bytes over all pixels, quantised: y = saturate(round((sum of x - pixels * zero) * factor) + y_zero).

x is blocked [N, C/c, pixels, c], y plain [N, C]; a task is a block of channels of an image. The sum is exact.
"""

import math

from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params

OPERANDS = ("x", "y")
DIMS = ("channels", "blocks", "pixels", "offset", "factor", "a", "b", "y_zero")


def launch(
    shape: tuple[int, ...], lanes: int, source: str, zero: int, factor: float, a: float, b: float, y_zero: int
) -> Launch:
    """The step for x [N, C, *spatial] of type ``source``; ``a`` and ``b`` limit the rounded numbers."""
    images, channels, pixels = shape[0], shape[1], math.prod(shape[2:])
    blocks = ceil_div(channels, lanes)
    dims = (channels, blocks, pixels, pixels * zero, float_word(factor), float_word(a), float_word(b), y_zero)
    return Launch(
        KERNEL, make_params(lanes=lanes, signed=int(source == "i8")), dims, images * blocks if channels else 0,
        reads={"x": (0, images * blocks * pixels * lanes)}, writes={"y": (0, images * channels)},
    )  # fmt: skip


def build(lanes: int, signed: int):
    from cnncc.runtime.cpu.integer_results import bytes_sum, store_rounded
    from cnncc.runtime.cpu.memory_access import load_i64, word_float
    from cnncc.runtime.cpu.simd import bits_of, ints_sub, to_floats

    def pool_integer(args, begin, end):
        x, y, channels, blocks = load_i64(args), load_i64(args + 8), load_i64(args + 16), load_i64(args + 24)
        pixels, offset = load_i64(args + 32), load_i64(args + 40)
        factor, a, b = word_float(load_i64(args + 48)), word_float(load_i64(args + 56)), word_float(load_i64(args + 64))
        y_zero = load_i64(args + 72)
        for task in range(begin, end):
            image, first = task // blocks, task % blocks * lanes
            total = bytes_sum(x + task * pixels * lanes, lanes, pixels, signed, lanes)
            mean = to_floats(ints_sub(bits_of(total), offset)) * factor
            store_rounded(y + image * channels + first, mean, a, b, y_zero, min(lanes, channels - first))

    return pool_integer


KERNEL = Kernel("pool_integer", OPERANDS, DIMS, build)
