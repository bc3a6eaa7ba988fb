"""RNN, GRU and LSTM once the input's products with W are known: the walk along the sequences.

A task is some sequences (up to PART) in one direction, walked serially in time. At each step the state h of all of them
is multiplied with the recurrent weights, panel by panel: one panel holds all gates of ``blocks * lanes`` units, so
that their sums meet in registers, go through the gates' functions and become the new state there. An LSTM, an RNN and
a GRU with linear_before_reset ("gru_linear") need one sweep over the panels a step; a GRU multiplies r * h with the
weights of its last gate, which takes a second sweep.

Private memory: four arrays [rows, pitch] a task: h, the new h, c (LSTM) or z (GRU), and r * h (GRU).
"""

import math
from collections.abc import Sequence

import numpy as np

from cnncc.records import record
from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, float_word, make_params

OPERANDS = ("x", "r", "b", "p", "lens", "h0", "c0", "y", "yh", "yc", "scratch")
FUNCTION_WORDS = ("f_a", "f_b", "g_a", "g_b", "h_a", "h_b")
DIMS = (
    "steps", "batch", "hidden", "pitch", "parts", "part", "backwards", "clip", "state", "second",
    "x_step", "x_row", "x_direction", "y_step", "y_row", "y_direction", "s_row", "s_direction",
    *(f"{word}_{d}" for d in range(2) for word in FUNCTION_WORDS),
)  # fmt: skip
# Gates of each sweep, and rows of the packed biases.
SWEEPS = {"rnn": (1,), "gru": (2, 1), "gru_linear": (3,), "lstm": (4,)}
BIASES = {"rnn": 1, "gru": 3, "gru_linear": 4, "lstm": 4}
STATES = {"rnn": 1, "gru": 1, "gru_linear": 1, "lstm": 2}
PART = 16  # sequences of a task
# By lanes: vectors of a panel (about) -> the most rows that a tile of that width can have.
TILES = {16: {8: 2, 6: 4}, 8: {8: 1, 4: 2}, 4: {8: 2, 6: 4}}
FUNCTIONS = {
    "relu": "clip", "leakyrelu": "leaky", "sigmoid": "sigmoid", "tanh": "tanh", "hardsigmoid": "hardsigmoid",
    "elu": "elu", "softplus": "softplus",
}  # fmt: skip
OWN_FUNCTIONS = ("affine", "scaledtanh", "thresholdedrelu", "softsign")


@record
class Walk:
    """What is walked: T ``steps`` of N sequences of H units; ``backwards`` has bit d set where direction d is.

    ``batch_first``: x is [N, T, D, G, H], y [N, T, D, H] and states [N, D, H]; else [T, N, ...], [T, D, N, H] and
    [D, N, H].
    """

    kind: str
    steps: int
    batch: int
    hidden: int
    directions: int
    backwards: int
    batch_first: bool


@record
class Packing:
    """How weights lie: in panels of about that many vectors (of TILES). It does not depend on T and N."""

    lanes: int
    vectors: int

    def blocks(self, gates: int, hidden: int) -> int:
        """Blocks of units in a panel of that many gates."""
        return min(max(1, self.vectors // gates), ceil_div(max(hidden, 1), self.lanes))

    def units(self, gates: int, hidden: int) -> int:
        """Units of whole panels."""
        width = self.blocks(gates, hidden) * self.lanes
        return ceil_div(hidden, width) * width

    def pitch(self, walk: Walk) -> int:
        """Floats of a row of units: whole panels of every sweep."""
        return max(self.units(gates, walk.hidden) for gates in SWEEPS[walk.kind])

    def rows(self, batch: int) -> int:
        """Rows of a tile: 1, 2 or 4."""
        return min(TILES[self.lanes][self.vectors], 4 if batch > 2 else max(batch, 1))


def choose_vectors(batch: int, lanes: int) -> int:
    """The widest panels with which a tile can have that many rows, at most as many as there are."""
    most = max(TILES[lanes].values())
    return next(vectors for vectors, rows in TILES[lanes].items() if rows >= min(batch, most))


def launch(
    walk: Walk, packing: Packing, functions: Sequence[Sequence[tuple[str, float, float]]], clip: float = math.inf,
    peepholes: bool = False, coupled: bool = False, given: Sequence[str] = (),
) -> Launch:  # fmt: skip
    """The step. ``functions`` gives the gates' functions (see FUNCTIONS, OWN_FUNCTIONS) of each direction, ``given``
    names the optional operands that there are; ``coupled`` is input_forget."""
    sweeps, hidden = SWEEPS[walk.kind], walk.hidden
    gates = sum(sweeps)
    blocks = [packing.blocks(g, hidden) for g in sweeps]
    rows, pitch = packing.rows(walk.batch), packing.pitch(walk)
    part = min(PART, max(walk.batch, 1))
    state = 4 * pitch * ceil_div(part, rows) * rows
    x_row, x_step = _strides(walk.batch, walk.steps, 4 * walk.directions * gates * hidden, walk.batch_first)
    s_row, s_direction = _strides(walk.batch, walk.directions, 4 * hidden, walk.batch_first)
    y = (4 * walk.directions * hidden, 4 * walk.steps * walk.directions * hidden, 4 * hidden) if walk.batch_first \
        else (4 * walk.directions * walk.batch * hidden, 4 * hidden, 4 * walk.batch * hidden)  # fmt: skip
    words = [[float_word(v) for _, *ab in each for v in ab] + [0] * (6 - 2 * len(each)) for each in functions]
    words += [[0] * 6] * (2 - len(words))
    sizes = [g * packing.units(g, hidden) * hidden for g in sweeps]
    dims = (
        walk.steps, walk.batch, hidden, 4 * pitch, ceil_div(walk.batch, part), part, walk.backwards, float_word(clip),
        state, 4 * walk.directions * sizes[0], x_step, x_row, 4 * gates * hidden, *y, s_row, s_direction,
        *words[0], *words[1],
    )  # fmt: skip
    names = [*(f[0] for f in functions[0]), "none", "none"][:3]
    params = make_params(
        kind=walk.kind, lanes=packing.lanes, rows=rows, blocks=blocks[0], second=blocks[-1], f=names[0], g=names[1],
        h=names[2], peepholes=int(peepholes), coupled=int(coupled),
    )  # fmt: skip
    each = 4 * walk.directions * walk.batch * hidden
    extents = {"lens": 4 * walk.batch, "h0": each, "c0": each, "p": 12 * walk.directions * pitch, "yh": each,
               "yc": each}  # fmt: skip
    reads = {"x": (0, walk.steps * walk.batch * x_row_elements(walk)), "r": (0, 4 * walk.directions * sum(sizes)),
             "b": (0, 4 * walk.directions * BIASES[walk.kind] * pitch)}  # fmt: skip
    reads |= {name: (0, extents[name]) for name in given if name not in ("yh", "yc")}
    writes = {"y": (0, walk.steps * each)} | {name: (0, extents[name]) for name in given if name in ("yh", "yc")}
    tasks = walk.directions * ceil_div(walk.batch, part) if hidden else 0
    return Launch(KERNEL, params, dims, tasks, scratch=ceil_div(4 * state, 64) * 64, reads=reads, writes=writes)


def x_row_elements(walk: Walk) -> int:
    """Bytes of the products of one step of one sequence."""
    return 4 * walk.directions * sum(SWEEPS[walk.kind]) * walk.hidden


def _strides(batch: int, other: int, width: int, batch_first: bool) -> tuple[int, int]:
    """Bytes from one sequence to the next, and along the other axis."""
    return (other * width, width) if batch_first else (width, batch * width)


def pack_weights(r: np.ndarray, walk: Walk, packing: Packing) -> np.ndarray:
    """R [D, G H, H] as panels [D, H / (blocks lanes), H, gates, blocks, lanes] of each sweep in turn, flat."""
    hidden, first, out = walk.hidden, 0, []
    split = r.reshape(walk.directions, -1, hidden, hidden)
    for gates in SWEEPS[walk.kind]:
        blocks, units = packing.blocks(gates, hidden), packing.units(gates, hidden)
        padded = np.zeros((walk.directions, gates, units, hidden), np.float32)
        padded[:, :, :hidden] = split[:, first : first + gates]
        panels = padded.reshape(walk.directions, gates, -1, blocks, packing.lanes, hidden)
        out.append(np.ascontiguousarray(panels.transpose(0, 2, 5, 1, 3, 4)).reshape(-1))
        first += gates
    return np.concatenate(out)


def pack_biases(b: np.ndarray | None, walk: Walk, packing: Packing) -> np.ndarray:
    """B [D, 2 G H] as [D, BIASES, pitch]: those of W and R added, but for the last gate of "gru_linear"."""
    gates = sum(SWEEPS[walk.kind])
    out = np.zeros((walk.directions, BIASES[walk.kind], packing.pitch(walk)), np.float32)
    if b is not None:
        w, r = b.astype(np.float64).reshape(walk.directions, 2, gates, walk.hidden).swapaxes(0, 1)
        rows = np.concatenate([(w + r)[:, :2], w[:, 2:], r[:, 2:]], 1) if walk.kind == "gru_linear" else w + r
        out[:, :, : walk.hidden] = rows
    return out


def pack_peepholes(p: np.ndarray, walk: Walk, packing: Packing) -> np.ndarray:
    """P [D, 3 H] as [D, 3, pitch]."""
    out = np.zeros((walk.directions, 3, packing.pitch(walk)), np.float32)
    out[:, :, : walk.hidden] = p.reshape(walk.directions, 3, walk.hidden)
    return out


def build(kind: str, lanes: int, rows: int, blocks: int, second: int, f: str, g: str, h: str, peepholes: int,
          coupled: int):  # fmt: skip
    from numba.extending import register_jitable

    from cnncc.runtime.cpu.kernels.recurrence_gates import build_finish
    from cnncc.runtime.cpu.memory_access import load_i32, load_i64, stack
    from cnncc.runtime.cpu.simd import load, load_first, splat, store, store_first
    from cnncc.runtime.cpu.tile import tile_fma_even, tile_zero
    from cnncc.runtime.cpu.tile_memory import tile_store

    word = {name: 8 * i for i, name in enumerate((*OPERANDS, *DIMS))}
    X, R, LENS, H0, C0, Y, YH, YC, SCRATCH = (
        word[n] for n in ("x", "r", "lens", "h0", "c0", "y", "yh", "yc", "scratch"))
    STEPS, BATCH, HIDDEN, PITCH, PARTS = (word[n] for n in ("steps", "batch", "hidden", "pitch", "parts"))
    PART_ROWS, BACKWARDS, STATE, SECOND = (word[n] for n in ("part", "backwards", "state", "second"))
    X_STEP, X_ROW, X_DIRECTION = word["x_step"], word["x_row"], word["x_direction"]
    Y_STEP, Y_ROW, Y_DIRECTION = word["y_step"], word["y_row"], word["y_direction"]
    S_ROW, S_DIRECTION = word["s_row"], word["s_direction"]
    two, cell = len(SWEEPS[kind]) == 2, kind == "lstm"
    width = 4 * lanes

    @register_jitable
    def length_of(args, n):
        lens, steps = load_i64(args + LENS), load_i64(args + STEPS)
        return steps if lens == 0 else min(steps, max(0, load_i32(lens + 4 * n)))

    def build_sweep(number: int):
        """``sweep(args, d, first, count, t, source, old, new, rest)``: all panels for ``count`` sequences at step t."""
        gates, panel = SWEEPS[kind][number], (blocks, second)[number]
        finish = build_finish(kind, number, lanes, panel, (f, g, h), peepholes, coupled, word)
        vectors = gates * panel
        step_bytes, sums_bytes = vectors * width, rows * vectors * width
        last = number == len(SWEEPS[kind]) - 1

        @register_jitable
        def sweep(args, d, first, count, t, source, old, new, rest):
            sums, hidden, pitch = stack(sums_bytes), load_i64(args + HIDDEN), load_i64(args + PITCH)
            backwards = load_i64(args + BACKWARDS) >> d & 1
            units = panel * lanes
            panels = (hidden + units - 1) // units
            weights = load_i64(args + R) + 4 * d * gates * panels * units * hidden
            if number == 1:
                weights += load_i64(args + SECOND)
            for j in range(panels):
                for top in range(0, count, rows):
                    acc = tile_zero(rows, vectors, lanes)
                    acc = tile_fma_even(acc, source + top * pitch, pitch, 4, weights, step_bytes, hidden, 4)
                    tile_store(acc, sums, step_bytes, width, rows, vectors)
                    for row in range(top, min(top + rows, count)):
                        length = length_of(args, first + row)
                        when = length - 1 - t if backwards and t < length else t
                        x = load_i64(args + X) + when * load_i64(args + X_STEP) + (first + row) * load_i64(args + X_ROW)
                        x += d * load_i64(args + X_DIRECTION)
                        y = load_i64(args + Y) + when * load_i64(args + Y_STEP) + (first + row) * load_i64(args + Y_ROW)
                        y += d * load_i64(args + Y_DIRECTION)
                        for v in range(panel):
                            unit = j * units + v * lanes
                            left = hidden - unit
                            if left <= 0:
                                break
                            at = row * pitch + 4 * unit
                            if t < length:
                                finish(args, d, unit, left, x + 4 * unit, sums + ((row - top) * vectors + v) * width,
                                       old + at, new + at, rest + at)  # fmt: skip
                                if last:
                                    store_first(y + 4 * unit, load(new + at, lanes), left)
                            elif last:
                                store(new + at, load(old + at, lanes))
                                store_first(y + 4 * unit, splat(0.0, lanes), left)
                weights += step_bytes * hidden

        return sweep

    sweep_1 = build_sweep(0)
    sweep_2 = build_sweep(1) if two else sweep_1

    @register_jitable
    def move(args, outside, inside, d, first, count, inwards):
        """Copies states between the operand at ``outside`` (0: zeros are read, nothing is written) and private
        memory. Sequences without a step have zeros."""
        hidden, pitch = load_i64(args + HIDDEN), load_i64(args + PITCH)
        for row in range(count):
            there = outside + d * load_i64(args + S_DIRECTION) + (first + row) * load_i64(args + S_ROW)
            here = inside + row * pitch
            for unit in range(0, hidden, lanes):
                if not inwards:
                    store_first(there + 4 * unit, load(here + 4 * unit, lanes), hidden - unit)
                elif outside != 0 and length_of(args, first + row) > 0:
                    store(here + 4 * unit, load_first(there + 4 * unit, hidden - unit, lanes))

    def recurrence(args, begin, end):
        state, part, parts = load_i64(args + STATE), load_i64(args + PART_ROWS), load_i64(args + PARTS)
        old = load_i64(args + SCRATCH)
        for task in range(begin, end):
            d, first = task // parts, task % parts * part
            count = min(part, load_i64(args + BATCH) - first)
            new, rest, product = old + state, old + 2 * state, old + 3 * state
            for at in range(old, old + 4 * state, width):
                store(at, splat(0.0, lanes))
            move(args, load_i64(args + H0), old, d, first, count, True)
            if cell:
                move(args, load_i64(args + C0), rest, d, first, count, True)
            for t in range(load_i64(args + STEPS)):
                if two:
                    sweep_1(args, d, first, count, t, old, old, product, rest)
                    sweep_2(args, d, first, count, t, product, old, new, rest)
                else:
                    sweep_1(args, d, first, count, t, old, old, new, rest)
                old, new = new, old
            if load_i64(args + YH) != 0:
                move(args, load_i64(args + YH), old, d, first, count, False)
            if cell and load_i64(args + YC) != 0:
                move(args, load_i64(args + YC), rest, d, first, count, False)
            old = load_i64(args + SCRATCH)

    return recurrence


KERNEL = Kernel("recurrence", OPERANDS, DIMS, build)
