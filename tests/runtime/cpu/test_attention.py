"""Attention against float64 over random shapes: blocks of queries and keys, masks, heads side by side."""

import numpy as np
import pytest

from cnncc.ops.attention import Attention
from cnncc.runtime.cpu.kernels import attention
from cnncc.runtime.cpu.kernels.attention import AttentionShape, Steps
from tests.runtime.cpu.harness import UNIT, run


def check(rng, lanes, batch, heads, group, queries, keys, size, v_size, joined, masked, causal, softcap=0.0):
    def tensor(count, length, width):
        shape = (batch, length, count * width) if joined else (batch, count, length, width)
        steps = (length * count * width, width, count * width) if joined else (count * length * width, length * width,
                                                                             width)
        return rng.standard_normal(shape).astype(np.float32), Steps(*steps)

    (q, sq), (k, sk), (v, sv) = (tensor(heads, queries, size), tensor(heads // group, keys, size),
                                 tensor(heads // group, keys, v_size))
    y, sy = tensor(heads, queries, v_size)
    y.fill(np.nan)
    mask = rng.standard_normal((batch, 1, queries, keys)).astype(np.float32)
    mask[rng.random(mask.shape) < 0.2] = -np.inf
    shape = AttentionShape(batch, heads, group, queries, keys, size, v_size, sq, sk, sv, sy,
                           Steps(queries * keys, 0, keys) if masked else None)
    scale = 1 / np.sqrt(size)
    step = attention.launch(shape, lanes, scale, causal, softcap)
    run(step, {"q": q, "k": k, "v": v, "mask": mask, "y": y}, 2)
    counts = {"q_num_heads": heads, "kv_num_heads": heads // group} if joined else {}
    op = Attention(is_causal=causal, softcap=softcap, **counts)
    wide = [x.astype(np.float64) for x in (q, k, v)]
    want = op.reference(*wide, mask.astype(np.float64) if masked else None)[0]
    scores = np.abs(op.reference(*wide)[3]).max(initial=1.0)
    assert np.all(abs(y - want) <= 64 * UNIT * scores * np.abs(v).max(initial=1.0))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("lanes", [16, 8, 4])
def test_random(lanes: int, seed: int) -> None:
    rng = np.random.default_rng([lanes, seed])
    group = int(rng.choice([1, 2]))
    queries, keys = int(rng.choice([1, 7, 50, 230])), int(rng.choice([1, 9, 64, 197, 600]))
    v_size = (5, 32, 64)[seed % 3] if lanes == 16 else 20
    # Masks go with one of the sizes: each pair of both is a kernel of its own.
    check(rng, lanes, 1 + seed % 2, 2 * group, group, queries, keys, int(rng.integers(1, 70)), v_size,
          joined=seed % 4 > 1, masked=v_size == 32, causal=seed % 5 in (2, 3))


def test_softcap() -> None:
    check(np.random.default_rng(0), 16, 1, 2, 1, 20, 30, 16, 20, True, True, False, softcap=1.5)


def test_causal_over_several_blocks_of_keys() -> None:
    check(np.random.default_rng(1), 16, 1, 1, 1, 1100, 1200, 8, 20, False, False, True)


def test_nothing_there() -> None:
    check(np.random.default_rng(2), 16, 1, 2, 1, 0, 5, 4, 20, False, False, False)
    y = np.full((1, 2, 3, 20), np.nan, np.float32)
    steps = Steps(0, 0, 0)
    shape = AttentionShape(1, 2, 1, 3, 0, 4, 20, steps, steps, steps, Steps(120, 60, 20))
    run(attention.launch(shape, 16, 1.0), {"q": np.zeros(4, np.float32), "k": y[:0], "v": y[:0], "y": y})
    np.testing.assert_array_equal(y, 0)
