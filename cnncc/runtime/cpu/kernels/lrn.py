"""Local response normalization in NCHWc: y = x / (bias + alpha / size * sum of the squares of `size` channels)^beta.

The window of channels reaches over the edges of a block: of the vectors of a pixel in this block and the two beside it
the squares are shifted by lanes and added up.
"""

import math

from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params

OPERANDS = ("x", "y")
DIMS = ("channels", "blocks", "pixels", "pieces", "scale", "bias", "beta")
TASK_PIXELS = 256
MAGIC = 13211836172961054720.0  # the float32 whose bits are 0x5F3759DF


def supports(size: int, lanes: int) -> bool:
    """Whether a window of this many channels lies within the blocks beside its own."""
    return size // 2 <= lanes


def launch(shape: tuple[int, ...], size: int, alpha: float, beta: float, bias: float, lanes: int) -> Launch:
    """The step for a blocked tensor [N, C, *spatial]."""
    if not supports(size, lanes):
        raise ValueError(f"a window of {size} channels reaches beyond the neighbouring blocks of {lanes}")
    images, channels, pixels = shape[0], shape[1], math.prod(shape[2:])
    blocks, pieces = ceil_div(channels, lanes), ceil_div(pixels, TASK_PIXELS)
    total = 4 * images * blocks * pixels * lanes
    fast = beta == 0.75 and alpha >= 0 and bias >= 1e-30  # then the base of the power is positive
    params = make_params(size=size, power="three_quarters" if fast else "any", lanes=lanes)
    dims = (channels, blocks, pixels, pieces, float_word(alpha / size), float_word(bias), float_word(beta))
    return Launch(
        KERNEL, params, dims, images * blocks * pieces, reads={"x": (0, total)}, writes={"y": (0, total)}
    )  # fmt: skip


def _power_function(power: str, lanes: int):
    """(base, beta) -> base^-beta, for vectors."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.simd import bits_of, from_bits, ints_shift_right, ints_sub, maximum, minimum, splat, where
    from cnncc.runtime.cpu.vmath import exp, log

    if power == "any":
        return register_jitable(lambda base, beta: exp(log(base) * (0.0 - beta)))

    @register_jitable
    def inverse_root(x):
        """x^-1/2 by three steps of Newton's y * (3 - x y^2) / 2 from what halving the exponent's bits gives."""
        y = from_bits(ints_sub(bits_of(splat(MAGIC, lanes)), ints_shift_right(bits_of(x), 1)))
        half = x * 0.5
        y = y * (1.5 - half * y * y)
        y = y * (1.5 - half * y * y)
        return y * (1.5 - half * y * y)

    def three_quarters(base, beta):
        kept = minimum(3.0e38, maximum(1.0e-30, base))
        root = inverse_root(kept)
        return where(base > 3.0e38, splat(0.0, lanes), root * root * inverse_root(root))

    return register_jitable(three_quarters)


def build(size: int, power: str, lanes: int):
    from llvmlite import ir

    from cnncc.runtime.cpu import emit
    from cnncc.runtime.cpu.memory_access import load_i64
    from cnncc.runtime.cpu.simd import F32, I32, I64

    raised = _power_function(power, lanes)
    before, after, width = (size - 1) // 2, size // 2, 4 * lanes

    def code(context, b, x, y, step, count, left, has_before, scale, bias, beta):
        """``count`` pixels from x on; ``step`` bytes to the next block, ``left`` channels from this one on."""
        scale, bias, beta = (b.bitcast(b.trunc(w, I32), F32) for w in (scale, bias, beta))
        masks = [
            emit.first_lanes(b, b.mul(has_before, I64(lanes)), lanes), emit.first_lanes(b, left, lanes),
            emit.first_lanes(b, b.sub(left, I64(lanes)), lanes),
        ]  # fmt: skip

        def squares(at, mask):
            value = emit.load(b, at, "f32", lanes, mask)
            return b.fmul(value, value)

        def shifted(low, high, by):
            """Lanes by .. by+lanes-1 of two vectors."""
            return b.shuffle_vector(low, high, ir.Constant(ir.VectorType(I32, lanes), [by + i for i in range(lanes)]))

        def pixel(i, _):
            at = b.add(x, b.mul(i, I64(width)))
            places = [b.sub(at, step), at, b.add(at, step)]
            behind, here, ahead = (squares(p, m) for p, m in zip(places, masks, strict=True))
            total = here
            for j in range(1, before + 1):
                total = b.fadd(total, shifted(behind, here, lanes - j))
            for j in range(1, after + 1):
                total = b.fadd(total, shifted(here, ahead, j))
            base = emit.call(b, "fmuladd", total, emit.spread(b, scale, lanes), emit.spread(b, bias, lanes))
            factor = emit.compiled(context, b, raised, base, beta)
            value = b.fmul(emit.load(b, at, "f32", lanes), factor)
            emit.store(b, b.add(y, b.mul(i, I64(width))), value, "f32", lanes)
            return []

        emit.loop(b, I64(0), count, 1, [], pixel)

    normalise = emit.emitted("normalise", 9, code)
    quotient, remainder, smaller = emit.quotient, emit.remainder, emit.smaller

    def lrn(args, begin, end):
        x, y, channels, blocks = load_i64(args), load_i64(args + 8), load_i64(args + 16), load_i64(args + 24)
        pixels, pieces = load_i64(args + 32), load_i64(args + 40)
        scale, bias, beta = load_i64(args + 48), load_i64(args + 56), load_i64(args + 64)
        for task in range(begin, end):
            plane, first = quotient(task, pieces), remainder(task, pieces) * TASK_PIXELS
            block = remainder(plane, blocks)
            at = (plane * pixels + first) * width
            count = smaller(TASK_PIXELS, pixels - first)
            left, has_before = channels - block * lanes, smaller(1, block)
            normalise(x + at, y + at, pixels * width, count, left, has_before, scale, bias, beta)

    return lrn


KERNEL = Kernel("lrn", OPERANDS, DIMS, build)
