"""Register tiles: ``rows x vectors`` accumulators of ``lanes`` float32 that stay in registers across Python loops.

A tile is one Numba value, an LLVM array of vectors that the optimiser splits into registers. The reduction

    tile[r, v] += x_r[i] * w_v[i]      i = 0 .. count-1

reads ``x_r[i]`` as a scalar (broadcast) and ``w_v[i]`` as a vector: one FMA per (r, v, i), ``vectors`` vector loads
and ``rows`` broadcasts per i. With rows * vectors + vectors + 1 registers it runs at the machine's FMA peak.
"""

from llvmlite import ir
from llvmlite.ir.instructions import LoadInstr
from numba import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic, models, register_model

from cnncc.runtime.cpu.memory_access import emit_prefetch
from cnncc.runtime.cpu.simd import (
    F32,
    I64,
    constant,
    emit_fma,
    emit_mask,
    emit_masked_load,
    pointer,
    splat_value,
    vector,
)


class Tile(types.Type):
    """``rows * vectors`` vectors, row-major."""

    def __init__(self, rows: int, vectors: int, lanes: int) -> None:
        self.rows, self.vectors, self.lanes = rows, vectors, lanes
        super().__init__(name=f"tile{rows}x{vectors}x{lanes}")


@register_model(Tile)
class TileModel(models.PrimitiveModel):
    def __init__(self, manager, kind: Tile) -> None:
        super().__init__(manager, kind, ir.ArrayType(vector(kind.lanes), kind.rows * kind.vectors))


def unpack(builder: ir.IRBuilder, tile: ir.Value, kind: Tile) -> list[ir.Value]:
    return [builder.extract_value(tile, i) for i in range(kind.rows * kind.vectors)]


def pack(builder: ir.IRBuilder, values: list[ir.Value], kind: Tile) -> ir.Value:
    tile = ir.Constant(ir.ArrayType(vector(kind.lanes), len(values)), ir.Undefined)
    for i, value in enumerate(values):
        tile = builder.insert_value(tile, value, i)
    return tile


@intrinsic(prefer_literal=True)
def tile_zero(typingctx, rows, vectors, lanes):
    """A tile of zeros."""
    kind = Tile(constant(rows), constant(vectors), constant(lanes))

    def codegen(context, builder, sig, args):
        return pack(builder, [ir.Constant(vector(kind.lanes), None)] * (kind.rows * kind.vectors), kind)

    return signature(kind, rows, vectors, lanes), codegen


@intrinsic(prefer_literal=True)
def tile_of_row(typingctx, address, step, rows, vectors, lanes):
    """Every row holds the ``vectors`` vectors at ``address``, ``step`` bytes apart: a bias."""
    kind = Tile(constant(rows), constant(vectors), constant(lanes))

    def codegen(context, builder, sig, args):
        row = []
        for v in range(kind.vectors):
            place = builder.add(args[0], builder.mul(args[1], I64(v)))
            row.append(builder.load(pointer(builder, place, vector(kind.lanes)), align=4))
        return pack(builder, row * kind.rows, kind)

    return signature(kind, types.int64, types.int64, rows, vectors, lanes), codegen


def emit_loop(builder: ir.IRBuilder, start, stop, step: int, values, body):
    """``for i in range(start, stop, step)`` (stop - start a multiple of step) over loop-carried LLVM values."""
    before, head = builder.block, builder.append_basic_block("tile.head")
    inside, after = builder.append_basic_block("tile.body"), builder.append_basic_block("tile.end")
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(I64)
    phis = [builder.phi(v.type) for v in values]
    builder.cbranch(builder.icmp_signed("<", index, stop), inside, after)
    builder.position_at_end(inside)
    results = body(index, list(phis))
    following = builder.add(index, I64(step))
    branch = builder.branch(head)
    branch.set_metadata("llvm.loop", _no_unroll(builder.module))
    for phi, first, again in zip([index, *phis], [start, *values], [following, *results], strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(again, builder.block)
    builder.position_at_end(after)
    return phis


def _no_unroll(module: ir.Module):
    """Loop metadata: the body is already as long as it should be."""
    disable = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    return module.add_metadata([disable])


def emit_update(builder, kind: Tile, acc, x_of_row, weights):
    """One rank-1 update; ``x_of_row(r)`` gives a scalar."""
    out = list(acc)
    for r in range(kind.rows):
        x = splat_value(builder, x_of_row(r), kind.lanes)
        for v in range(kind.vectors):
            at = r * kind.vectors + v
            out[at] = emit_fma(builder, x, weights[v], out[at])
    return out


def emit_reduction(builder, kind: Tile, tile, count, unroll: int, row_address, load_weights, ahead=None):
    """The reduction loop: ``unroll`` updates an iteration, then the rest one by one. ``ahead`` is an address, a step
    and how many updates there are to one that asks for a cache line (see ``tile_fma_ahead``)."""

    def update(acc, i, u):
        index = builder.add(i, I64(u))
        if ahead is not None and u % ahead[2] == 0:
            emit_prefetch(builder, builder.add(ahead[0], builder.mul(index, ahead[1])))

        def x_of_row(r):
            return builder.load(pointer(builder, row_address(r, index), F32), align=4)

        return emit_update(builder, kind, acc, x_of_row, load_weights(i, u))

    def body(times):
        def run(i, acc):
            for u in range(times):
                acc = update(acc, i, u)
            return acc

        return run

    acc, start = unpack(builder, tile, kind), I64(0)
    if unroll > 1:
        whole = builder.and_(count, I64(-unroll))
        acc = emit_loop(builder, start, whole, unroll, acc, body(unroll))
        start = whole
        if isinstance(count, ir.Constant) and count.constant % unroll == 0:
            return pack(builder, acc, kind)
    return pack(builder, emit_loop(builder, start, count, 1, acc, body(1)), kind)


def emit_weights(builder, kind: Tile, base, step, masks=None):
    """Vectors ``base + i * step``; lanes outside ``masks`` are not touched."""
    width = kind.lanes * 4

    def load(i, u):
        row = builder.add(base, builder.mul(builder.add(i, I64(u)), step))
        out = []
        for v in range(kind.vectors):
            place = builder.add(row, I64(v * width))
            if masks is None:
                out.append(builder.load(pointer(builder, place, vector(kind.lanes)), align=4))
            else:
                out.append(emit_masked_load(builder, place, masks[v], kind.lanes))
        return out

    return load


class _VolatileLoad(LoadInstr):
    """Not moved past others nor made one with them: what one FMA needs becomes its memory operand."""

    def descr(self, buf):
        super().descr(buf)
        buf[-1] = buf[-1].replace("load", "load volatile", 1)


class _RereadWeights(list):
    """The vectors of an update, of which the last is loaded whenever it is asked for."""

    def __init__(self, builder, address, kind: Tile) -> None:
        self.builder, self.address, self.kind, self.width = builder, address, vector(kind.lanes), 4 * kind.lanes
        super().__init__(self.load(v) for v in range(kind.vectors - 1))

    def load(self, v: int):
        place = self.builder.add(self.address, I64(self.width * v))
        load = self.builder.load(pointer(self.builder, place, self.kind), align=4)
        load.__class__ = _VolatileLoad  # the builder has no such load
        return load

    def __getitem__(self, v):
        return super().__getitem__(v) if v < len(self) else self.load(v)


def emit_weights_anew(builder, kind: Tile, base, step):
    """As ``emit_weights``, the last vector anew for each row."""

    def load(i, u):
        return _RereadWeights(builder, builder.add(base, builder.mul(builder.add(i, I64(u)), step)), kind)

    return load


def rows_through(builder: ir.IRBuilder, table, rows: int, x_step):
    """Addresses of x_r[i], where ``table`` holds the addresses of x_r[0]."""
    starts = load_addresses(builder, table, rows)
    return lambda r, index: builder.add(starts[r], builder.mul(index, x_step))


def rows_apart(builder: ir.IRBuilder, x, row_step, x_step):
    """Addresses of x_r[i], where the rows lie at even distances."""
    return lambda r, index: builder.add(builder.add(x, builder.mul(index, x_step)), builder.mul(row_step, I64(r)))


@intrinsic(prefer_literal=True)
def tile_fma(typingctx, tile, rows_at, x_step, w, w_step, count, unroll):
    """``tile[r, v] += x_r[i] * w_v[i]`` for i < count.

    ``rows_at``: address of ``rows`` int64 addresses, x_r = rows_at[r] + i * x_step bytes. w_v = w + i * w_step +
    v * lanes * 4. Steps and count may be constants, which makes the addressing free.
    """
    if not isinstance(tile, Tile):
        return None
    times = constant(unroll)
    kinds = (types.int64, x_step, types.int64, w_step, count, unroll)

    def codegen(context, builder, sig, args):
        value, rows_at, x_step, w, w_step, count, _ = literal_values(args, sig.args)
        row_address = rows_through(builder, rows_at, tile.rows, x_step)
        return emit_reduction(builder, tile, value, count, times, row_address, emit_weights(builder, tile, w, w_step))

    return signature(tile, tile, *kinds), codegen


def load_word(builder: ir.IRBuilder, table: ir.Value, index: ir.Value) -> ir.Value:
    return builder.load(pointer(builder, builder.add(table, builder.mul(index, I64(8))), I64), align=8)


def load_addresses(builder: ir.IRBuilder, table: ir.Value, count: int) -> list[ir.Value]:
    return [load_word(builder, table, I64(r)) for r in range(count)]


@intrinsic(prefer_literal=True)
def tile_fma_even(typingctx, tile, x, row_step, x_step, w, w_step, count, unroll):
    """As ``tile_fma`` with rows at even distances: x_r = x + r * row_step + i * x_step."""
    if not isinstance(tile, Tile):
        return None
    times = constant(unroll)
    kinds = (types.int64, row_step, x_step, types.int64, w_step, count, unroll)

    def codegen(context, builder, sig, args):
        value, x, row_step, x_step, w, w_step, count, _ = literal_values(args, sig.args)

        row_address = rows_apart(builder, x, row_step, x_step)
        return emit_reduction(builder, tile, value, count, times, row_address, emit_weights(builder, tile, w, w_step))

    return signature(tile, tile, *kinds), codegen


@intrinsic(prefer_literal=True)
def tile_fma_ahead(typingctx, tile, rows_at, x_step, w, w_step, count, unroll, ahead, step, every):
    """As ``tile_fma``; update i asks for the cache line at ``ahead + i * step`` (any address will do), where i is a
    multiple of ``every``, a constant (see ``ask_every``)."""
    if not isinstance(tile, Tile):
        return None
    times, apart = constant(unroll), constant(every)
    kinds = (types.int64, x_step, types.int64, w_step, count, unroll, types.int64, types.int64, every)

    def codegen(context, builder, sig, args):
        value, rows_at, x_step, w, w_step, count, _, ahead, step, _ = literal_values(args, sig.args)
        row_address = rows_through(builder, rows_at, tile.rows, x_step)
        weights = emit_weights(builder, tile, w, w_step)
        return emit_reduction(builder, tile, value, count, times, row_address, weights, (ahead, step, apart))

    return signature(tile, tile, *kinds), codegen


def _fma_even_ahead(load_weights):
    @intrinsic(prefer_literal=True)
    def tile_fma_even_ahead(typingctx, tile, x, row_step, x_step, w, w_step, count, unroll, ahead, step, every):
        """As ``tile_fma_even``, asking for cache lines as ``tile_fma_ahead``."""
        if not isinstance(tile, Tile):
            return None
        times, apart = constant(unroll), constant(every)
        kinds = (types.int64, row_step, x_step, types.int64, w_step, count, unroll, types.int64, types.int64, every)

        def codegen(context, builder, sig, args):
            value, x, row_step, x_step, w, w_step, count, _, ahead, step, _ = literal_values(args, sig.args)
            row_address = rows_apart(builder, x, row_step, x_step)
            weights = load_weights(builder, tile, w, w_step)
            return emit_reduction(builder, tile, value, count, times, row_address, weights, (ahead, step, apart))

        return signature(tile, tile, *kinds), codegen

    return tile_fma_even_ahead


tile_fma_even_ahead = _fma_even_ahead(emit_weights)
# For tiles whose accumulators leave no register for the last vector of weights.
tile_fma_even_rereading = _fma_even_ahead(emit_weights_anew)


@intrinsic(prefer_literal=True)
def tile_fma_masked(typingctx, tile, rows_at, x_step, w, w_step, count, columns):
    """As ``tile_fma``; only the first ``columns`` floats of each weight row are read (the others count as zero)."""
    if not isinstance(tile, Tile):
        return None
    kinds = (types.int64, types.int64, types.int64, types.int64, types.int64, types.int64)

    def codegen(context, builder, sig, args):
        value, rows_at, x_step, w, w_step, count, columns = args
        rows = load_addresses(builder, rows_at, tile.rows)
        masks = [
            emit_mask(builder, builder.sub(columns, I64(v * tile.lanes)), tile.lanes) for v in range(tile.vectors)
        ]

        def row_address(r, index):
            return builder.add(rows[r], builder.mul(index, x_step))

        weights = emit_weights(builder, tile, w, w_step, masks)
        return emit_reduction(builder, tile, value, count, 1, row_address, weights)

    return signature(tile, tile, *kinds), codegen


def literal_values(args, kinds):
    """Constants instead of the dummies that literal-typed arguments carry."""
    pairs = zip(args, kinds, strict=True)
    return [I64(k.literal_value) if isinstance(k, types.IntegerLiteral) else a for a, k in pairs]
