"""SuppressBoxes, the boxes of each picture and class that NonMaxSuppression keeps, and ListBoxes, all in one list.

A task of the first is one class of one picture: its candidates are ranked by their scores, then each is compared with
those that are kept already, a vector of them at a time. The second is one task.
"""

from collections.abc import Sequence

from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("boxes", "scores", "most", "overlap", "least", "kept", "counts", "scratch")
DIMS = ("classes", "boxes_count", "room")
SIDES = 5  # what is remembered of a kept box: its least y and x, its greatest y and x, its area
LIST_OPERANDS = ("kept", "counts", "selected", "total")
LIST_DIMS = ("images", "classes", "room")


def launch(images: int, classes: int, boxes: int, room: int, centred: bool, lanes: int,
           given: Sequence[str]) -> Launch:  # fmt: skip
    """The step; ``room`` is the number of boxes that a class can keep, ``given`` are those of the operands ``most``,
    ``overlap`` and ``least`` that there are. Less than 2^31 boxes."""
    rows = images * classes
    return Launch(
        SUPPRESS, make_params(lanes=lanes, centred=int(centred)), (classes, boxes, room), rows,
        scratch=ceil_div(16 * boxes + 4 * SIDES * _pitch(room, lanes), 64) * 64,
        reads={"boxes": (0, 16 * images * boxes), "scores": (0, 4 * rows * boxes),
               **{name: (0, 8 if name == "most" else 4) for name in given}},
        writes={"kept": (0, 8 * rows * room), "counts": (0, 8 * rows)},
    )  # fmt: skip


def launch_list(images: int, classes: int, room: int) -> Launch:
    rows = images * classes
    return Launch(
        LIST, (), (images, classes, room), 1, reads={"kept": (0, 8 * rows * room), "counts": (0, 8 * rows)},
        writes={"selected": (0, 24 * rows * room), "total": (0, 8)},
    )  # fmt: skip


def _pitch(room: int, lanes: int) -> int:
    return ceil_div(room, lanes) * lanes


def build(lanes: int, centred: int):
    import numpy as np
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.memory_access import load_f32, load_i64, load_words, stack, store_f32, store_i64
    from cnncc.runtime.cpu.ranking import (
        COUNTERS_BYTES,
        key_of,
        lowest_bit,
        mask_bits,
        number_of,
        ranks,
        sort_keys,
    )
    from cnncc.runtime.cpu.simd import load, load_first, maximum, minimum

    words, rank, zero, half = len(OPERANDS) + len(DIMS), ranks("f32", True, True), np.float32(0), np.float32(0.5)
    box_bytes = 4 * SIDES

    @register_jitable
    def candidates(scores, count, least, keys):
        """Puts the keys of all scores above ``least`` (all where its address is 0) in order of number; their count."""
        found = 0
        if least == 0:
            for i in range(count):
                store_i64(keys + 8 * i, key_of(rank(scores + 4 * i), i))
            return count
        bound = load_f32(least)
        for first in range(0, count, lanes):
            valid = min(lanes, count - first)
            bits = mask_bits(load_first(scores + 4 * first, valid, lanes) > bound) & ((1 << valid) - 1)
            while bits != 0:
                i = first + lowest_bit(bits)
                store_i64(keys + 8 * found, key_of(rank(scores + 4 * i), i))
                found += 1
                bits &= bits - 1
        return found

    @register_jitable
    def corners(box, to):
        """A box as its least and greatest coordinate along either axis, and its area."""
        for axis in range(2):
            a, b = load_f32(box + 4 * axis), load_f32(box + 4 * axis + 8)
            if centred:
                reach = b * half
                a, b = a - reach, a + reach
            elif b < a:
                a, b = b, a
            store_f32(to + 4 * axis, a)
            store_f32(to + 4 * axis + 8, b)
        store_f32(to + 16, (load_f32(to + 8) - load_f32(to)) * (load_f32(to + 12) - load_f32(to + 4)))

    @register_jitable
    def is_covered(box, sides, pitch, count, bound):
        """Whether intersection over union with one of the kept boxes is above the bound."""
        top, left, bottom, right = load_f32(box), load_f32(box + 4), load_f32(box + 8), load_f32(box + 12)
        area = load_f32(box + 16)
        for i in range(0, count, lanes):
            at = sides + 4 * i
            high = minimum(bottom, load(at + 2 * pitch, lanes)) - maximum(top, load(at, lanes))
            wide = minimum(right, load(at + 3 * pitch, lanes)) - maximum(left, load(at + pitch, lanes))
            inside = (1 << min(lanes, count - i)) - 1
            shared, other = high * wide, load(at + 4 * pitch, lanes)
            valid = mask_bits(high > zero) & mask_bits(wide > zero) & inside
            if valid != 0 and area > zero:
                union = other + area - shared
                valid &= mask_bits(shared > zero) & mask_bits(other > zero) & mask_bits(union > zero)
                if valid & mask_bits(shared / union > bound) != 0:
                    return True
            else:
                valid = 0
            if zero > bound and valid != inside:  # those that share nothing have a ratio of 0
                return True
        return False

    def suppress_boxes(args, begin, end):
        boxes, scores, most, overlap, least, kept, counts, scratch, classes, count, room = load_words(args, words)
        counters, box = stack(COUNTERS_BYTES), stack(box_bytes)
        keys, sides = scratch, scratch + 16 * count
        pitch = 4 * ((room + lanes - 1) // lanes * lanes)
        allowed = 0 if most == 0 else min(room, load_i64(most))
        bound = zero if overlap == 0 else load_f32(overlap)
        for task in range(begin, end):
            found = candidates(scores + 4 * count * task, count, least, keys) if allowed > 0 else 0
            ranked = sort_keys(keys, keys + 8 * count, found, counters)
            image, to, n, i = boxes + 16 * count * (task // classes), kept + 8 * room * task, 0, 0
            while i < found and n < allowed:
                number = number_of(load_i64(ranked + 8 * i))
                corners(image + 16 * number, box)
                if not is_covered(box, sides, pitch, n, bound):
                    for side in range(SIDES):
                        store_f32(sides + side * pitch + 4 * n, load_f32(box + 4 * side))
                    store_i64(to + 8 * n, number)
                    n += 1
                i += 1
            store_i64(counts + 8 * task, n)
            for rest in range(n, room):
                store_i64(to + 8 * rest, 0)

    return suppress_boxes


def build_list():
    from cnncc.runtime.cpu.memory_access import load_i64, load_words, store_i64

    words = len(LIST_OPERANDS) + len(LIST_DIMS)

    def list_boxes(args, begin, end):
        kept, counts, selected, total, images, classes, room = load_words(args, words)
        for _ in range(begin, end):
            found = 0
            for row in range(images * classes):
                for i in range(min(room, max(0, load_i64(counts + 8 * row)))):
                    to = selected + 24 * found
                    store_i64(to, row // classes)
                    store_i64(to + 8, row % classes)
                    store_i64(to + 16, load_i64(kept + 8 * (row * room + i)))
                    found += 1
            store_i64(total, found)
            for at in range(3 * found, 3 * images * classes * room):
                store_i64(selected + 8 * at, 0)

    return list_boxes


SUPPRESS = Kernel("suppress_boxes", OPERANDS, DIMS, build)
LIST = Kernel("list_boxes", LIST_OPERANDS, LIST_DIMS, build_list)
