"""Reductions over axes of a plain tensor, or over the pixels of a blocked one.

After neighbouring axes are merged, a tensor is [kept0, reduced0, kept1, reduced1] ("rows": the last axis is reduced and
its vectors are folded at the end) or [kept0, reduced0, kept1, reduced1, inner] ("columns": each lane is a result).
Blocked [N, blocks, pixels, lanes] is the latter with inner = C, whose vectors lie ``vector_step`` bytes apart.
Sums go over blocks of 64 numbers a lane, whose sums are added in turn.
"""


from cnncc.records import record
from cnncc.runtime.cpu.elements import SIZES
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

OPERANDS = ("x", "y")
DIMS = (
    "kept_1", "x_step_0", "x_step_1", "times_0", "times_1", "step_0", "step_1", "inner", "vectors", "vector_step",
    "wide",
)  # fmt: skip
WIDE = 4  # vectors side by side, or accumulators of one vector
TASK_BYTES = 32 << 10


@record
class ReduceShape:
    """The axes of a reduction, merged; ``inner`` is None where the last axis is reduced. Sizes in elements."""

    kept: tuple[int, int]
    reduced: tuple[int, int]
    inner: int | None = None


def launch(shape: ReduceShape, kind: str, lanes: int, dtype: str = "f32", p: int = 1) -> Launch:
    """The step for a plain tensor; ``p`` is the order of the norm lp."""
    item = SIZES[dtype]
    (k0, k1), (r0, r1) = shape.kept, shape.reduced
    inner = 1 if shape.inner is None else shape.inner
    width = inner * item
    wide = WIDE if shape.inner is not None and inner >= WIDE * lanes else 1
    dims = (
        k1, r0 * k1 * r1 * width, r1 * width, r0, r1, k1 * r1 * width, width, inner, ceil_div(inner, lanes),
        lanes * item, wide,
    )  # fmt: skip
    form = "rows" if shape.inner is None else "columns"
    return _launch(form, kind, lanes, dtype, dims, k0 * r0 * k1 * r1 * width, k0 * k1, k0 * k1 * width, p)


def launch_blocked(shape: tuple[int, ...], kind: str, lanes: int, p: int = 1) -> Launch:
    """The step that reduces the pixels of a blocked f32 tensor [N, C, *spatial] to plain [N, C]."""
    images, channels, pixels = shape[0], shape[1], 1
    for n in shape[2:]:
        pixels *= n
    blocks, width = ceil_div(channels, lanes), 4 * lanes
    dims = (1, blocks * pixels * width, 0, 1, pixels, 0, width, channels, blocks, pixels * width, 1)
    size = images * blocks * pixels * width
    return _launch("columns", kind, lanes, "f32", dims, size, images, images * channels * 4, p)


def _launch(form, kind, lanes, dtype, dims, size, rows, written, p) -> Launch:
    vectors, wide = dims[-3], dims[-1]
    tasks = rows * ceil_div(vectors, wide) if written else 0
    grain = max(1, min(TASK_BYTES * tasks // max(1, size), tasks))
    return Launch(
        KERNEL, make_params(form=form, kind=kind, lanes=lanes, dtype=dtype, p=p), dims, tasks=tasks, grain=grain,
        reads={"x": (0, size)}, writes={"y": (0, written)},
    )  # fmt: skip


class _Emitter:
    """Writes the loops of one reduction."""

    def __init__(self, kind: str, lanes: int, dtype: str, p: int) -> None:
        from cnncc.runtime.cpu.emit import number
        from cnncc.runtime.cpu.reduction import build_reduction

        self.lanes, self.dtype, self.reduction = lanes, dtype, build_reduction(kind, dtype, p)
        self.start = number(dtype, lanes, self.reduction.start)

    def over(self, builder, at, times, step, totals, each):
        """``totals = each(totals, place)`` at ``times`` places from ``at`` on."""
        from cnncc.runtime.cpu.emit import loop_in_blocks

        def one(i, found):
            return each(found, builder.add(at, builder.mul(i, step)))

        return loop_in_blocks(builder, times, self.start, totals, self.reduction.merge, one)

    def outer(self, builder, at, times, step, totals, each):
        from cnncc.runtime.cpu.emit import loop
        from cnncc.runtime.cpu.simd import I64

        return loop(
            builder, I64(0), times, 1, totals, lambda i, t: each(t, builder.add(at, builder.mul(i, step)))
        )  # fmt: skip

    def merged(self, builder, totals):
        while len(totals) > 1:
            totals = [self.reduction.merge(builder, a, b) for a, b in zip(totals[::2], totals[1::2], strict=True)]
        return totals[0]

    def columns(self, wide: int):
        """(x, y, times_0, step_0, times_1, step_1, valid): ``wide`` vectors, of which the first ``valid`` lanes."""
        from cnncc.runtime.cpu.emit import first_lanes, load, store
        from cnncc.runtime.cpu.simd import I64

        width = self.lanes * SIZES[self.dtype]

        def emit(context, b, x, y, times_0, step_0, times_1, step_1, valid):
            mask = first_lanes(b, valid, self.lanes) if wide == 1 else None

            def read(place):
                return load(b, place, self.dtype, self.lanes, mask)

            def side_by_side(totals, place):
                places = [b.add(place, I64(width * v)) for v in range(wide)]
                return [self.reduction.step(b, t, read(p)) for t, p in zip(totals, places, strict=True)]

            def one_after_another(totals, place):
                places = [b.add(place, b.mul(step_1, I64(u))) for u in range(WIDE)]
                return [self.reduction.step(b, t, read(p)) for t, p in zip(totals, places, strict=True)]

            def row(totals, place):
                if wide > 1:
                    return self.over(b, place, times_1, step_1, totals, side_by_side)
                quarter = b.udiv(times_1, I64(WIDE))
                totals = self.over(b, place, quarter, b.mul(step_1, I64(WIDE)), totals, one_after_another)
                done = b.mul(quarter, I64(WIDE))
                rest = self.over(
                    b, b.add(place, b.mul(done, step_1)), b.sub(times_1, done), step_1, totals[:1],
                    lambda t, p: [self.reduction.step(b, t[0], read(p))],
                )  # fmt: skip
                return [*rest, *totals[1:]]

            totals = self.outer(b, x, times_0, step_0, [self.start] * WIDE, row)
            count = b.mul(times_0, times_1)
            for v, total in enumerate(totals if wide > 1 else [self.merged(b, totals)]):
                result = self.reduction.finish(context, b, total, count)
                store(b, b.add(y, I64(width * v)), result, self.dtype, self.lanes, mask)

        from cnncc.runtime.cpu.emit import emitted

        return emitted("columns", 7, emit)

    def rows(self):
        """(x, y, times_0, step_0, times_1): one result of ``times_0`` runs of ``times_1`` elements."""
        from cnncc.runtime.cpu.emit import emitted, first_lanes, fold_lanes, load, store
        from cnncc.runtime.cpu.simd import I64

        item = SIZES[self.dtype]
        width = self.lanes * item

        def emit(context, b, x, y, times_0, step_0, times_1):
            def many(count):
                def each(totals, place):
                    places = [b.add(place, I64(width * u)) for u in range(count)]
                    found = [load(b, p, self.dtype, self.lanes) for p in places]
                    return [self.reduction.step(b, t, f) for t, f in zip(totals, found, strict=True)]

                return each

            def run(totals, place):
                chunk = self.lanes * WIDE
                whole = b.udiv(times_1, I64(chunk))
                totals = self.over(b, place, whole, I64(width * WIDE), totals, many(WIDE))
                left = b.sub(times_1, b.mul(whole, I64(chunk)))
                place = b.add(place, b.mul(whole, I64(width * WIDE)))
                singles = b.udiv(left, I64(self.lanes))
                head = self.over(b, place, singles, I64(width), totals[:1], many(1))
                left = b.sub(left, b.mul(singles, I64(self.lanes)))
                mask = first_lanes(b, left, self.lanes)
                last = load(b, b.add(place, b.mul(singles, I64(width))), self.dtype, self.lanes, mask)
                last = b.select(mask, last, self.start)
                return [self.reduction.step(b, head[0], last), *totals[1:]]

            total = self.merged(b, self.outer(b, x, times_0, step_0, [self.start] * WIDE, run))
            result = self.reduction.finish(
                context, b, fold_lanes(b, total, self.reduction.merge), b.mul(times_0, times_1)
            )
            store(b, y, result, self.dtype, 1)

        return emitted("rows", 5, emit)


def build(form: str, kind: str, lanes: int, dtype: str, p: int):
    from cnncc.runtime.cpu.emit import quotient, remainder, smaller
    from cnncc.runtime.cpu.memory_access import load_i64

    emitter = _Emitter(kind, lanes, dtype, p)
    item = SIZES[dtype]
    word = {name: 8 * (len(OPERANDS) + i) for i, name in enumerate(DIMS)}
    KEPT, X0, X1, TIMES_0, TIMES_1 = (word[n] for n in ("kept_1", "x_step_0", "x_step_1", "times_0", "times_1"))
    STEP_0, STEP_1, INNER, VECTORS = (word[n] for n in ("step_0", "step_1", "inner", "vectors"))
    VECTOR_STEP, SIDE = word["vector_step"], word["wide"]

    if form == "rows":
        rows = emitter.rows()

        def reduce_rows(args, begin, end):
            x, y, kept = load_i64(args), load_i64(args + 8), load_i64(args + KEPT)
            times_0, times_1, step_0 = load_i64(args + TIMES_0), load_i64(args + TIMES_1), load_i64(args + STEP_0)
            for task in range(begin, end):
                k0, k1 = quotient(task, kept), remainder(task, kept)
                at = x + k0 * load_i64(args + X0) + k1 * load_i64(args + X1)
                rows(at, y + task * item, times_0, step_0, times_1)

        return reduce_rows

    one, many = emitter.columns(1), emitter.columns(WIDE)

    def reduce_columns(args, begin, end):
        x, y, kept = load_i64(args), load_i64(args + 8), load_i64(args + KEPT)
        times_0, times_1 = load_i64(args + TIMES_0), load_i64(args + TIMES_1)
        step_0, step_1, inner = load_i64(args + STEP_0), load_i64(args + STEP_1), load_i64(args + INNER)
        wide, vectors, vector_step = load_i64(args + SIDE), load_i64(args + VECTORS), load_i64(args + VECTOR_STEP)
        groups = quotient(vectors + wide - 1, wide)
        for task in range(begin, end):
            row, first = quotient(task, groups), remainder(task, groups) * wide
            at = x + quotient(row, kept) * load_i64(args + X0) + remainder(row, kept) * load_i64(args + X1)
            to = y + row * inner * item
            if wide > 1 and (first + wide) * lanes <= inner:
                many(at + first * vector_step, to + first * lanes * item, times_0, step_0, times_1, step_1, lanes)
            else:
                for v in range(first, smaller(vectors, first + wide)):
                    valid = smaller(lanes, inner - v * lanes)
                    one(at + v * vector_step, to + v * lanes * item, times_0, step_0, times_1, step_1, valid)

    return reduce_columns


KERNEL = Kernel("reduce", OPERANDS, DIMS, build)
