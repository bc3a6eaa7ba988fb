"""DynamicQuantizeLinear: the range of x (with 0 in it), from it scale and zero point, then all of x as u8.

One task does all: nothing can be quantised before the last number has been seen.
"""

from cnncc.runtime.cpu.kernel import Kernel, Launch, make_params

OPERANDS = ("x", "y", "scale", "zero")
DIMS = ("count",)


def launch(count: int, lanes: int) -> Launch:
    """The step for ``count`` plain float32."""
    return Launch(
        KERNEL, make_params(lanes=lanes), (count,), 1, reads={"x": (0, 4 * count)},
        writes={"y": (0, count), "scale": (0, 4), "zero": (0, 1)},
    )  # fmt: skip


def build(lanes: int):
    from cnncc.runtime.cpu.integer_results import store_rounded
    from cnncc.runtime.cpu.memory_access import load_f32, load_i64, load_u8, stack, store_f32, store_i8
    from cnncc.runtime.cpu.simd import (
        horizontal_max,
        horizontal_min,
        load,
        load_first,
        maximum,
        minimum,
        splat,
        store,
    )

    def quantize_dynamic(args, begin, end):
        x, y, count = load_i64(args), load_i64(args + 8), load_i64(args + 32)
        scale_at, zero_at, place = load_i64(args + 16), load_i64(args + 24), stack(64)
        low = high = splat(0.0, lanes)
        for i in range(0, count - lanes + 1, lanes):
            value = load(x + 4 * i, lanes)
            low, high = minimum(value, low), maximum(value, high)
        rest = count % lanes
        if rest > 0:  # lanes that are not there read as 0, which is in the range
            value = load_first(x + 4 * (count - rest), rest, lanes)
            low, high = minimum(value, low), maximum(value, high)
        least, greatest = horizontal_min(low), horizontal_max(high)
        store(place, (splat(greatest, lanes) - splat(least, lanes)) / splat(255.0, lanes))
        scale = load_f32(place)
        if least == greatest:
            store(place, splat(1.0, lanes) / splat(255.0, lanes))
            scale = load_f32(place)
        store_f32(scale_at, scale)
        each = splat(scale, lanes)
        # All lanes, into the stack: LLVM 22 forgets to narrow what a constant mask of one lane stores.
        store_rounded(place, splat(0.0, lanes) - splat(least, lanes) / each, 0.0, 255.0, 0, lanes)
        zero = load_u8(place)
        store_i8(zero_at, zero)
        a, b = 0.0 - zero, 255.0 - zero
        for i in range(0, count, lanes):
            value = load_first(x + 4 * i, count - i, lanes) / each
            store_rounded(y + i, value, a, b, zero, count - i)

    return quantize_dynamic


KERNEL = Kernel("quantize_dynamic", OPERANDS, DIMS, build)
