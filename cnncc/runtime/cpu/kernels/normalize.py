"""Normalization by the tensor's own statistics: y = (x - mean) / sqrt(variance + epsilon) * scale + bias.

A task normalizes `spread` parts of memory that lie one behind the other and share their statistics. Sums are taken over
blocks of 64 vectors, whose sums are added in turn. A second walk sums x - mean and its squares: the first corrects the
mean's rounding, the second is the variance. Forms:

- "blocked" (NCHWc): the parts are blocks of channels; statistics are common to `share` neighbouring lanes;
- "channels" (plain): the parts are channels, each with one scale and bias;
- "elements" (plain): one part, with a scale and a bias for each element.

scale and bias are [blocks * lanes], [channels] or [elements], float32 as all else. With `centred` 0 the mean is not
subtracted: that is RMSNormalization.
"""

from cnncc.runtime.cpu.kernel import Kernel, Launch, float_word, make_params

OPERANDS = ("x", "scale", "bias", "y")
DIMS = ("units", "spread", "size", "epsilon")
BLOCK = 64
TASK_BYTES = 32 << 10
FORMS = ("blocked", "channels", "elements")


def launch_blocked(images: int, units: int, spread: int, pixels: int, share: int, epsilon: float,
                   lanes: int) -> Launch:  # fmt: skip
    """The step for blocked images of units * spread blocks."""
    params = make_params(form="blocked", share=share, centred=1, lanes=lanes)
    return _launch(params, images, units, spread, pixels, epsilon, pixels * lanes, lanes)


def launch_channels(images: int, units: int, spread: int, pixels: int, epsilon: float, lanes: int) -> Launch:
    """The step for plain images of units * spread channels."""
    params = make_params(form="channels", share=1, centred=1, lanes=lanes)
    return _launch(params, images, units, spread, pixels, epsilon, pixels, 1)


def launch_elements(rows: int, size: int, epsilon: float, centred: bool, lanes: int) -> Launch:
    """The step for plain rows of `size` elements."""
    params = make_params(form="elements", share=1, centred=int(centred), lanes=lanes)
    return _launch(params, rows, 1, 1, size, epsilon, size, size)


def _launch(params, images, units, spread, size, epsilon, part, numbers) -> Launch:
    total = 4 * images * units * spread * part
    tasks = images * units if total else 0
    grain = max(1, min(tasks, TASK_BYTES // (4 * spread * part + 1)))
    return Launch(
        KERNEL, params, (units, spread, size, float_word(epsilon)), tasks, grain,
        reads={"x": (0, total), "scale": (0, 4 * units * spread * numbers), "bias": (0, 4 * units * spread * numbers)},
        writes={"y": (0, total)},
    )  # fmt: skip


def _build_sums(lanes: int):
    """(address, vectors) -> the sum of x over vectors, and (address, vectors, mean) -> the sums of (x - mean)^2 and of
    x - mean, which tells how far off the mean is."""
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.simd import fma, load, splat

    width = 4 * lanes

    @register_jitable
    def sum_of(at, count):
        total, i = splat(0.0, lanes), 0
        while i < count:
            stop = min(i + BLOCK, count)
            a, b, c, d = splat(0.0, lanes), splat(0.0, lanes), splat(0.0, lanes), splat(0.0, lanes)
            while i + 4 <= stop:
                a, b = a + load(at, lanes), b + load(at + width, lanes)
                c, d = c + load(at + 2 * width, lanes), d + load(at + 3 * width, lanes)
                i += 4
                at += 4 * width
            while i < stop:
                a = a + load(at, lanes)
                i += 1
                at += width
            total = total + ((a + b) + (c + d))
        return total

    @register_jitable
    def moments_of(at, count, mean):
        squares, rest, i = splat(0.0, lanes), splat(0.0, lanes), 0
        while i < count:
            stop = min(i + BLOCK, count)
            a, b, c, d = splat(0.0, lanes), splat(0.0, lanes), splat(0.0, lanes), splat(0.0, lanes)
            while i + 2 <= stop:
                p, q = load(at, lanes) - mean, load(at + width, lanes) - mean
                a, b, c, d = fma(p, p, a), fma(q, q, b), c + p, d + q
                i += 2
                at += 2 * width
            while i < stop:
                p = load(at, lanes) - mean
                a, c = fma(p, p, a), c + p
                i += 1
                at += width
            squares, rest = squares + (a + b), rest + (c + d)
        return squares, rest

    return sum_of, moments_of


def build(form: str, share: int, centred: int, lanes: int):
    return _build_blocked(share, lanes) if form == "blocked" else _build_plain(form, centred, lanes)


def _build_blocked(share: int, lanes: int):
    import numpy as np
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.memory_access import load_i64, word_float
    from cnncc.runtime.cpu.simd import fma, group_sum, load, maximum, sqrt, store

    sum_of, moments_of = _build_sums(lanes)
    width = 4 * lanes

    @register_jitable
    def part(x, y, pixels, mean, factor, shift):
        for p in range(pixels):
            store(y + p * width, fma(load(x + p * width, lanes) - mean, factor, shift))

    def normalize(args, begin, end):
        x, scale, bias, y = load_i64(args), load_i64(args + 8), load_i64(args + 16), load_i64(args + 24)
        units, spread, pixels = load_i64(args + 32), load_i64(args + 40), load_i64(args + 48)
        epsilon = word_float(load_i64(args + 56))
        vectors = spread * pixels
        count = np.float32(vectors * share)
        for task in range(begin, end):
            first, at = task % units * spread, task * vectors * width
            mean = group_sum(sum_of(x + at, vectors), share) / count
            squares, rest = moments_of(x + at, vectors, mean)
            rest = group_sum(rest, share) / count
            variance = maximum(0.0, group_sum(squares, share) / count - rest * rest)
            mean, inverse = mean + rest, 1.0 / sqrt(variance + epsilon)
            for block in range(first, first + spread):
                factor = load(scale + block * width, lanes) * inverse
                part(x + at, y + at, pixels, mean, factor, load(bias + block * width, lanes))
                at += pixels * width

    return normalize


def _build_plain(form: str, centred: int, lanes: int):
    import numpy as np
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.memory_access import load_f32, load_i64, stack, word_float
    from cnncc.runtime.cpu.simd import fma, horizontal_sum, load, load_first, splat, sqrt, store, store_first

    sum_of, moments_of = _build_sums(lanes)
    width, elements = 4 * lanes, form == "elements"

    @register_jitable
    def whole_sum(at, count):
        """Of `count` elements."""
        vectors = count // lanes
        return horizontal_sum(sum_of(at, vectors) + load_first(at + vectors * width, count - vectors * lanes, lanes))

    @register_jitable
    def whole_moments(at, count, mean, buffer):
        """Of `count` elements; `buffer` holds the mean too."""
        vectors = count // lanes
        last = count - vectors * lanes
        p = load_first(at + vectors * width, last, lanes) - load_first(buffer, last, lanes)
        squares, rest = moments_of(at, vectors, mean)
        return horizontal_sum(fma(p, p, squares)), horizontal_sum(rest + p)

    @register_jitable
    def part(x, y, size, mean, inverse, scale, bias):
        """Normalizes one part, whose scale and bias lie at these addresses."""
        whole = size // lanes * lanes
        rest = size - whole
        if elements:
            for i in range(0, whole, lanes):
                factor = load(scale + 4 * i, lanes) * inverse
                store(y + 4 * i, fma(load(x + 4 * i, lanes) - mean, factor, load(bias + 4 * i, lanes)))
            factor = load_first(scale + 4 * whole, rest, lanes) * inverse
            shift = load_first(bias + 4 * whole, rest, lanes)
        else:
            factor, shift = inverse * load_f32(scale), splat(load_f32(bias), lanes)
            for i in range(0, whole, lanes):
                store(y + 4 * i, fma(load(x + 4 * i, lanes) - mean, factor, shift))
        last = fma(load_first(x + 4 * whole, rest, lanes) - mean, factor, shift)
        store_first(y + 4 * whole, last, rest)

    def normalize(args, begin, end):
        x, scale, bias, y = load_i64(args), load_i64(args + 8), load_i64(args + 16), load_i64(args + 24)
        units, spread, size = load_i64(args + 32), load_i64(args + 40), load_i64(args + 48)
        epsilon = word_float(load_i64(args + 56))
        count = spread * size
        buffer = stack(width)
        for task in range(begin, end):
            first, at = task % units * spread, task * count * 4
            mean = splat(0.0, lanes)
            if centred:
                mean = splat(whole_sum(x + at, count) / np.float32(count), lanes)
            store(buffer, mean)
            squares, rest = whole_moments(x + at, count, mean, buffer)
            variance, rest = squares / np.float32(count), rest / np.float32(count)
            if centred:
                variance, mean = max(np.float32(0.0), variance - rest * rest), mean + rest
            inverse = 1.0 / sqrt(splat(variance + epsilon, lanes))
            for channel in range(first, first + spread):
                part(x + at, y + at, size, mean, inverse, scale + channel * 4, bias + channel * 4)
                at += size * 4

    return normalize


KERNEL = Kernel("normalize", OPERANDS, DIMS, build)
