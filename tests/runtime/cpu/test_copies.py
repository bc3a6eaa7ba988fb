"""Operators that move elements: bit-exact, in every layout, for every size of element."""

import numpy as np
import pytest

from cnncc.ir import Op
from cnncc.ops import OPS
from cnncc.runtime.cpu.kernels import copy, join
from cnncc.runtime.cpu.kernels.copy import Axis
from cnncc.runtime.cpu.lowering import BLOCKED, PLAIN, Refusal
from tests.runtime.cpu.guard import Guarded, execute, run_guarded
from tests.runtime.cpu.lowered import all_runs, choose, run_lowered, tensors_of

TYPES = ["float32", "uint8", "float16", "float64"]


def numbers(shape, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) * 50).astype(dtype)


def exact(op: Op, arrays, constants=(), outputs: int = 1, **more) -> None:
    want = op.reference(*arrays)
    for got in all_runs(op, arrays, constants, outputs, **more):
        for a, b in zip(got, want, strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_array_equal(a, b)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("shape", "perm"),
    [
        ((37, 53), (1, 0)), ((2, 35, 3), (0, 2, 1)), ((2, 3, 35), (0, 2, 1)), ((5, 4, 18, 2), (2, 1, 0, 3)),
        ((2, 5, 20, 18), (3, 1, 0, 2)), ((2, 3, 4, 5, 6), (4, 2, 0, 3, 1)), ((1, 2, 29, 5, 7), (0, 2, 1, 3, 4)),
        ((3, 1, 4), (2, 1, 0)), ((0, 3), (1, 0)), ((7,), (0,)), ((), ()),
    ],
    ids=str,
)  # fmt: skip
def test_transpose(shape: tuple[int, ...], perm: tuple[int, ...], dtype: str) -> None:
    exact(OPS["Transpose"](perm=perm), [numbers(shape, dtype)], lanes=(16, 4), threads=(1, 2))


@pytest.mark.parametrize("seed", range(10))
def test_random_transposes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(2, 7))
    x = numbers(tuple(int(n) for n in rng.integers(1, [200, 60, 9, 7, 5][rank - 2], rank)), TYPES[seed % 4])
    exact(OPS["Transpose"](perm=tuple(int(p) for p in rng.permutation(rank))), [x], threads=(1, 2))


def test_a_long_copy_is_cut_into_tasks() -> None:
    x = numbers((3, 70000))
    exact(OPS["Identity"](), [x], threads=(1, 2))
    exact(OPS["Transpose"](perm=(1, 0)), [numbers((300, 600))], threads=(1, 2))
    exact(OPS["Slice"](), [x, ints(0), ints(70000), ints(1), ints(2)], constants=(1, 2, 3, 4), threads=(1, 2))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("block", [2, 3])
def test_blocks(mode: str, block: int) -> None:
    exact(OPS["DepthToSpace"](blocksize=block, mode=mode), [numbers((2, 5 * block**2, 3, 17))])
    exact(OPS["SpaceToDepth"](blocksize=block, mode=mode), [numbers((2, 5, 3 * block, 17 * block))])


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ((1,), (3,), (2,), (1,)), ((0, 8), (2, 40), (0, 1), (1, 1)), ((16,), (37,), (1,), (1,)),
        ((3,), (37,), (1,), (1,)), ((-1,), (-(2**63),), (1,), (-1,)), ((4, 0), (0, 5), (2, 3), (-2, 2)),
        ((0,), (16,), (1,), (1,)), ((5,), (5,), (1,), (1,)), ((1, 1, 1, 1), (9, 9, 9, 9), (0, 1, 2, 3), (1, 1, 1, 1)),
    ],
    ids=str,
)  # fmt: skip
def test_slice(starts, ends, axes, steps) -> None:
    operands = [ints(*starts), ints(*ends), ints(*axes), ints(*steps)]
    exact(OPS["Slice"](), [numbers((2, 37, 5, 6)), *operands], constants=(1, 2, 3, 4), lanes=(16, 8))
    exact(OPS["Slice"](), [numbers((2, 37, 5, 6), "int16"), *operands], constants=(1, 2, 3, 4))


@pytest.mark.parametrize(
    ("first", "last", "layout"),
    [(16, 48, BLOCKED), (0, 32, BLOCKED), (32, 40, BLOCKED), (16, 40, PLAIN), (8, 24, PLAIN)],
)
def test_a_slice_between_blocks_stays_blocked(first: int, last: int, layout: str) -> None:
    x = numbers((1, 40 if last == 40 and first == 32 else 48, 4, 4))
    tensors = tensors_of([x, ints(first), ints(last), ints(1)], (1, 2, 3), [BLOCKED, PLAIN, PLAIN, PLAIN])
    choice, _ = choose(OPS["Slice"](), tensors, 16, 1)
    assert choice.inputs[0] == layout and choice.outputs == (layout,)


@pytest.mark.parametrize(
    ("axis", "sizes"),
    [(1, (16, 32, 5)), (1, (5, 16)), (1, (16,)), (2, (3, 4)), (3, (1, 2, 3)), (0, (1, 2)), (-1, (2, 2))],
)
def test_concat_and_split(axis: int, sizes: tuple[int, ...]) -> None:
    parts = []
    for k, size in enumerate(sizes):
        shape = [2, 16, 4, 5]
        shape[axis] = size
        parts.append(numbers(tuple(shape), seed=k))
    concat = OPS["Concat"](axis=axis)
    exact(concat, parts, lanes=(16, 8), threads=(1, 2))
    exact(concat, parts, constants=(0,))
    whole = concat.reference(*parts)[0]
    exact(OPS["Split"](axis=axis), [whole, ints(*sizes)], (1,), len(sizes), lanes=(16, 8), threads=(1, 2))


@pytest.mark.parametrize("dtype", TYPES)
def test_concat_of_other_types(dtype: str) -> None:
    exact(OPS["Concat"](axis=1), [numbers((3, n), dtype) for n in (5, 0, 70000)], threads=(1, 2))


def test_concat_has_a_limit() -> None:
    x = numbers((1, 2))
    exact(OPS["Concat"](axis=1), [x] * 64)
    assert isinstance(run_lowered(OPS["Concat"](axis=1), [x] * 65), Refusal)


def test_a_part_in_its_place_is_left_alone() -> None:
    whole = Guarded(np.arange(100, dtype=np.float32))
    second = Guarded(np.full(60, 7, np.float32))
    launch = join.launch("concat", 1, [160, 240], 16)
    addresses = {"whole": whole.address, "part_0": whole.address, "part_1": second.address}
    execute(launch, addresses, 1)
    np.testing.assert_array_equal(whole.data.view(np.float32), np.r_[np.arange(40), np.full(60, 7)])


PADS = [(0, 0, 1, 2, 0, 0, 3, 1), (1, 0, 0, 0, 0, 2, 0, 0), (0, 0, -1, 2, 0, 0, 1, -2), (0, 0, 0, 0, 0, 0, 0, 0),
        (0, 3, 2, 1, 0, 1, 2, 3), (0, 0, 0, 20, 0, 0, 0, 30)]  # fmt: skip


@pytest.mark.parametrize("pads", PADS, ids=str)
@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_pad(mode: str, pads: tuple[int, ...]) -> None:
    shape = (3, 20, 6, 35)
    if mode == "reflect" and max(pads) >= 3 and pads[0]:
        shape = (5, 20, 6, 35)
    for dtype in TYPES:
        x = numbers(shape, dtype)
        exact(OPS["Pad"](mode=mode), [x, ints(*pads)], constants=(1,), lanes=(16, 8) if dtype == "float32" else (16,))
    value = np.array(2.5, np.float32)
    exact(OPS["Pad"](mode=mode), [numbers(shape), ints(*pads), value], constants=(1,))
    exact(OPS["Pad"](mode=mode), [numbers(shape), ints(*pads), value], constants=(1, 2), threads=(1, 2))


@pytest.mark.parametrize("repeats", [(1, 1, 1), (2, 3, 4), (1, 1, 7), (5, 1, 1), (1, 0, 1)], ids=str)
def test_tile(repeats: tuple[int, ...]) -> None:
    for dtype in TYPES:
        exact(OPS["Tile"](), [numbers((2, 3, 5), dtype), ints(*repeats)], constants=(1,))


@pytest.mark.parametrize("target", [(2, 3, 4), (5, 2, 3, 4), (2, 3, 1), (3, 4)], ids=str)
def test_expand(target: tuple[int, ...]) -> None:
    for shape in ((1, 3, 1), (3, 1), (1,), ()):
        exact(OPS["Expand"](), [numbers(shape, "int8"), ints(*target)], constants=(1,))


@pytest.mark.parametrize("index", ["int32", "int64"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather(axis: int, index: str) -> None:
    indices = np.array([[0, -1], [2, 1]], index)
    for dtype in TYPES:
        exact(OPS["Gather"](axis=axis), [numbers((3, 4, 5), dtype), indices], threads=(1, 2))


def test_gather_never_reads_outside() -> None:
    x = numbers((4, 6))
    (got,) = run_lowered(OPS["Gather"](axis=0), [x, np.array([9, -9, 2**62, -(2**62)], np.int64)])
    np.testing.assert_array_equal(got, x[[3, 0, 3, 0]])


def test_copies_declare_what_they_touch() -> None:
    x, y = Guarded(np.arange(100, dtype=np.float32)), Guarded(np.zeros(50, np.float32))
    launch = copy.launch([Axis(5, -10, 10), Axis(3, 2, 1)], 4, 16, x_offset=52, y_offset=4)
    assert launch.reads["x"] == (12 * 4, 57 * 4) and launch.writes["y"] == (4 * 4, 47 * 4)
    run_guarded(launch, {"x": x, "y": y})
    want = np.zeros(50, np.float32)
    for i in range(5):
        want[4 + 10 * i : 7 + 10 * i] = 52 - 10 * i + 2 * np.arange(3)
    np.testing.assert_array_equal(y.data.view(np.float32), want)


@pytest.mark.parametrize(("sizes", "layout"), [((16, 32), BLOCKED), ((32, 16), BLOCKED), ((24, 24), PLAIN)])
def test_joins_of_whole_blocks_stay_blocked(sizes: tuple[int, int], layout: str) -> None:
    tensors = tensors_of([numbers((1, 48, 3, 3)), ints(*sizes)], (1,), [BLOCKED, PLAIN])
    assert choose(OPS["Split"](axis=1), tensors, 16, 2)[0].outputs == (layout,) * 2
    parts = tensors_of([numbers((1, n, 3, 3)) for n in sizes], layouts=[PLAIN, BLOCKED])
    assert choose(OPS["Concat"](axis=1), parts, 16, 1)[0].outputs == (layout,)
