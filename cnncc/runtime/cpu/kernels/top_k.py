"""TopK: the first k elements in order along the axis of [outer, axis, inner], and where they were (if that is wanted).

A task is some rows along the axis. Where k is much less than the axis, a heap of k keys sees all elements; else all are
sorted.
"""

from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("x", "values", "indices", "scratch")
DIMS = ("axis", "k", "inner", "rows", "task_rows", "heap")
DTYPES = ("f16", "f32", "i8", "i16", "i32", "u8", "u16", "u32")
TASK_ELEMENTS = 4 << 10
HEAP_SHARE = 8  # a heap is quicker for less than this part of the axis


def launch(outer: int, axis: int, inner: int, k: int, largest: bool, dtype: str, indices: bool = True) -> Launch:
    """The step for a plain tensor; its axis has less than 2^31 elements. ``indices``: whether they are wanted."""
    rows, heap = outer * inner, HEAP_SHARE * k < axis
    task_rows = max(1, TASK_ELEMENTS // max(1, axis))
    item = SIZES[dtype]
    return Launch(
        KERNEL, make_params(dtype=dtype, largest=int(largest)), (axis, k, inner, rows, task_rows, int(heap)),
        ceil_div(rows, task_rows) if k else 0, scratch=ceil_div(8 * (k if heap else 2 * axis), 64) * 64,
        reads={"x": (0, item * rows * axis)},
        writes={"values": (0, item * rows * k), **({"indices": (0, 8 * rows * k)} if indices else {})},
    )  # fmt: skip


def build(dtype: str, largest: int):
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.elements import access
    from cnncc.runtime.cpu.memory_access import load_i64, load_words, stack, store_i64
    from cnncc.runtime.cpu.ranking import (
        COUNTERS_BYTES,
        key_of,
        make_heap,
        number_of,
        ranks,
        sift,
        sort_heap,
        sort_keys,
    )

    rank, item, words = ranks(dtype, bool(largest)), SIZES[dtype], len(OPERANDS) + len(DIMS)
    load_element, store_element = access(dtype)

    @register_jitable
    def put_keys(x, step, count, keys):
        for i in range(count):
            store_i64(keys + 8 * i, key_of(rank(x + i * step), i))

    @register_jitable
    def select(x, step, axis, k, heap):
        """The first k keys, in order."""
        put_keys(x, step, k, heap)
        make_heap(heap, k)
        last = load_i64(heap) >> 32
        for i in range(k, axis):
            here = rank(x + i * step)
            if here < last:  # of equal ones that come later none is better
                sift(heap, 0, k, key_of(here, i))
                last = load_i64(heap) >> 32
        sort_heap(heap, k)

    def top_k(args, begin, end):
        x, values, indices, scratch, axis, k, inner, rows, task_rows, heap = load_words(args, words)
        counters, step = stack(COUNTERS_BYTES), inner * item
        for row in range(begin * task_rows, min(rows, end * task_rows)):
            outer, at = row // inner, row % inner
            source, keys = x + (outer * axis * inner + at) * item, scratch
            if heap != 0:
                select(source, step, axis, k, keys)
            else:
                put_keys(source, step, axis, keys)
                keys = sort_keys(keys, scratch + 8 * axis, axis, counters)
            for i in range(k):
                number, to = number_of(load_i64(keys + 8 * i)), (outer * k + i) * inner + at
                store_element(values + to * item, load_element(source + number * step))
                if indices != 0:
                    store_i64(indices + 8 * to, number)

    return top_k


KERNEL = Kernel("top_k", OPERANDS, DIMS, build)
