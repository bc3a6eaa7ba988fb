"""Weights: from files by name, and drawn by seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import cnncc
from cnncc.errors import ModelError
from cnncc.frontends.dsl import weights_of
from cnncc.ir import evaluate, format_graph

TEXT = "network a:\n  input x: f32[N,3,8,8]\n  conv1: conv 4 3x3 -> bn1: bn -> relu\n  flatten\n  fc: linear 10\n"


def arrays(text: str = TEXT, **options: object) -> dict[str, np.ndarray]:
    return weights_of(cnncc.network(text, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_files_by_name(tmp_path: Path, suffix: str) -> None:
    drawn = arrays(seed=5) | {"bn1.num_batches_tracked": np.array(7)}
    path = tmp_path / f"w{suffix}"
    save_file(drawn, path) if suffix == ".safetensors" else np.savez(path, **drawn)
    found = arrays(weights=path)
    assert found.keys() == drawn.keys() - {"bn1.num_batches_tracked"}
    assert all(np.array_equal(found[n], drawn[n]) for n in found)


def test_half_precision_weights_are_widened() -> None:
    given = {n: a.astype(np.float16) for n, a in arrays().items()}
    assert all(a.dtype == np.float32 and np.array_equal(a, given[n]) for n, a in arrays(weights=given).items())


def test_all_that_does_not_fit_is_listed_at_once() -> None:
    given = arrays()
    del given["fc.bias"]
    given["fc.weight"] = given["fc.weight"].T
    given["conv1.bias"] = given["conv1.bias"].astype(np.int64)
    given["old.weight"] = np.zeros(3, np.float32)
    with pytest.raises(ModelError) as info:
        cnncc.network(TEXT, weights=given)
    message = str(info.value)
    assert "in 4 places" in message
    for part in ("missing: fc.bias f32[10]", "of another shape: fc.weight is [144, 10], the network has f32[10,144]",
                 "of another type: conv1.bias is int64", "not in the network: old.weight float32[3]"):
        assert part in message


@pytest.mark.parametrize("name", ["w.npz", "w.safetensors", "w.bin", "none.npz", "none.safetensors"])
def test_files_that_are_no_weights(tmp_path: Path, name: str) -> None:
    if not name.startswith("none"):
        (tmp_path / name).write_bytes(b"not weights")
    with pytest.raises(ModelError, match=name):
        cnncc.network(TEXT, weights=tmp_path / name)


def test_drawn_by_seed_and_name_alone() -> None:
    first, again, other = arrays(seed=1), arrays(seed=1), arrays(seed=2)
    more = arrays(TEXT.replace("bn1: bn ->", "bn1: bn -> extra: conv 4 1x1 ->"), seed=1)
    assert all(np.array_equal(first[n], again[n]) and np.array_equal(first[n], more[n]) for n in first)
    assert not any(np.array_equal(first[n], other[n]) for n in first)


def test_drawn_as_the_papers_say() -> None:
    text = "network a:\n  input x: f32[N,64,9,9]\n  c: conv 128 3x3 -> global_avgpool -> flatten\n" \
           "  l: linear 512 -> b: bn\n"
    drawn = arrays(text)
    assert drawn["c.weight"].std() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert abs(drawn["l.weight"]).max() <= (6 / (128 + 512)) ** 0.5
    assert drawn["l.weight"].std() == pytest.approx((2 / (128 + 512)) ** 0.5, rel=0.02)
    assert drawn["b.running_var"].min() > 0


def test_deep_networks_neither_vanish_nor_explode() -> None:
    text = "network a:\n  input x: f32[1,16,8,8]\n  repeat 20: conv 16 3x3 pad 1 -> bn -> relu\n"
    y = evaluate(cnncc.network(text), {"x": np.random.default_rng(0).standard_normal((1, 16, 8, 8)).astype(np.float32)})
    assert 1e-2 < y["output"].std() < 1e4


def test_without_weights_nothing_is_allocated() -> None:
    graph = cnncc.network("network a:\n  input x: f32[N,100000]\n  linear 80000\n", seed=None)
    assert cnncc.summary(graph).parameters == 100_000 * 80_000 + 80_000
    assert "f32[N,80000]" in format_graph(graph)


def test_drawn_scales_at_the_end_of_a_residual_branch_are_a_fifth() -> None:
    text = """
network n:
  input x: f32[N,4,8,8]
  y = x -> bn1: bn -> conv 4 3x3 pad 1 -> bn2: bn
  {}
"""
    plain, residual = ({v.name: v.constant for v in cnncc.network(text.format(line)).constants}
                       for line in ("y -> relu", "x + y"))
    np.testing.assert_allclose(residual["bn2.weight"], plain["bn2.weight"] * 0.2, rtol=1e-6)
    assert all(np.array_equal(array, residual[name]) for name, array in plain.items() if name != "bn2.weight")
