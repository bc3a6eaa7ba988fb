"""Elements in the order of their size, in compiled code: keys, sorting them, and the least of them.

A key is an int64: in its upper half the rank of an element, which grows with the element, in its lower half the
element's number. So keys in order are elements in order, equal ones by their numbers.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import signature
from numba.extending import intrinsic, register_jitable

from cnncc.runtime.cpu import memory_access
from cnncc.runtime.cpu.memory_access import load_i64, store_i64
from cnncc.runtime.cpu.simd import I64, Mask

COUNTERS_BYTES = 4 * 256 * 8  # what sort_keys counts in
FEW = 24  # keys that are quicker to insert one by one
_HALF, _NUMBER, _NAN = 1 << 31, (1 << 32) - 1, (1 << 31) - 1


@intrinsic
def mask_bits(typingctx, mask):
    """A mask as an int64: lane i is bit i."""
    if not isinstance(mask, Mask):
        return None

    def codegen(context, builder, sig, args):
        return builder.zext(builder.bitcast(args[0], ir.IntType(mask.lanes)), I64)

    return signature(types.int64, mask), codegen


@intrinsic
def lowest_bit(typingctx, bits):
    """The number of the lowest bit that is set; there must be one."""

    def codegen(context, builder, sig, args):
        kind = ir.FunctionType(I64, [I64, ir.IntType(1)])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.cttz.i64")
        return builder.call(function, [args[0], ir.Constant(ir.IntType(1), 1)])

    return signature(types.int64, types.int64), codegen


def ranks(dtype: str, descending: bool, nan_last: bool = False):
    """``rank(address)`` of an element of up to 32 bits, from -2^31 to 2^31 - 1: the first in order has the least. NaN
    counts as larger than all numbers, or with ``nan_last`` comes after all in either direction."""
    load = getattr(memory_access, f"load_{dtype.replace('f', 'i')}")
    floating, shift = dtype.startswith("f"), _HALF if dtype == "u32" else 0
    magnitude, infinity = {"f16": (0x7FFF, 0x7C00), "f32": (0x7FFFFFFF, 0x7F800000)}.get(dtype, (0, 0))

    @register_jitable
    def rank(address):
        value = load(address) - shift
        if floating:
            size = value & magnitude
            if size > infinity:
                return -1 - _NAN if descending and not nan_last else _NAN
            value = size if value >= 0 else -size
        return -1 - value if descending else value

    return rank


@register_jitable
def key_of(rank, number):
    return (rank << 32) | number


@register_jitable
def number_of(key):
    return key & _NUMBER


@register_jitable
def _insert(keys, count):
    for i in range(1, count):
        key, at = load_i64(keys + 8 * i), i
        while at > 0 and load_i64(keys + 8 * (at - 1)) > key:
            store_i64(keys + 8 * at, load_i64(keys + 8 * (at - 1)))
            at -= 1
        store_i64(keys + 8 * at, key)


@register_jitable
def _digit(key, place):
    """Eight bits of the rank, so that they grow with it."""
    return ((key >> (32 + 8 * place)) + (128 if place == 3 else 0)) & 255


@register_jitable
def sort_keys(keys, spare, count, counters):
    """Sorts keys that stand in the order of their numbers; gives the address of the sorted ones, ``keys`` or ``spare``.
    ``counters``: COUNTERS_BYTES of memory."""
    if count <= FEW:
        _insert(keys, count)
        return keys
    for i in range(1024):
        store_i64(counters + 8 * i, 0)
    for i in range(count):
        key = load_i64(keys + 8 * i)
        for place in range(4):
            at = counters + 8 * (256 * place + _digit(key, place))
            store_i64(at, load_i64(at) + 1)
    for place in range(4):
        first = counters + 8 * 256 * place
        if load_i64(first + 8 * _digit(load_i64(keys), place)) == count:  # all alike
            continue
        total = 0
        for i in range(256):
            here = load_i64(first + 8 * i)
            store_i64(first + 8 * i, total)
            total += here
        for i in range(count):
            key = load_i64(keys + 8 * i)
            at = first + 8 * _digit(key, place)
            to = load_i64(at)
            store_i64(at, to + 1)
            store_i64(spare + 8 * to, key)
        keys, spare = spare, keys
    return keys


@register_jitable
def sift(heap, at, count, key):
    """Puts ``key`` at or below the place ``at`` of a heap of so many keys, the largest on top."""
    below = 2 * at + 1
    while below < count:
        larger = load_i64(heap + 8 * below)
        if below + 1 < count and load_i64(heap + 8 * below + 8) > larger:
            below += 1
            larger = load_i64(heap + 8 * below)
        if larger <= key:
            break
        store_i64(heap + 8 * at, larger)
        at, below = below, 2 * below + 1
    store_i64(heap + 8 * at, key)


@register_jitable
def make_heap(keys, count):
    for at in range(count // 2 - 1, -1, -1):
        sift(keys, at, count, load_i64(keys + 8 * at))


@register_jitable
def sort_heap(heap, count):
    for last in range(count - 1, 0, -1):
        key = load_i64(heap + 8 * last)
        store_i64(heap + 8 * last, load_i64(heap))
        sift(heap, 0, last, key)
