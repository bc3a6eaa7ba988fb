"""A state dict of torchvision fits the zoo's network of the same name: names and shapes of all its weights.

The lists were written by torchvision 0.29: `NAME SHAPE` of every entry but BatchNormalization's counters, in its order;
densenet121.txt has the first 60. digests.txt has for each network their number and the beginning of the SHA-256 of the
sorted lines.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import cnncc
from cnncc import zoo
from cnncc.errors import ModelError

HERE = Path(__file__).parent / "torchvision"
DIGESTS = {name: (int(count), digest) for name, count, digest in
           (line.split() for line in (HERE / "digests.txt").read_text(encoding="utf-8").splitlines())}


def weights(name: str) -> list[str]:
    """`NAME SHAPE` of every weight that the network owns."""
    graph = zoo.load(name, seed=None)
    return [f"{v.name} {'x'.join(map(str, v.type.static_shape))}" for v in graph.constants
            if v.type.dtype.is_float and v.constant is not None and v.constant.strides == (0,) * v.type.rank
            and v.type.rank]


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "mobilenet_v2", "densenet121"])
def test_the_listed_names(name: str) -> None:
    expected = (HERE / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    assert weights(name)[:len(expected)] == expected


@pytest.mark.parametrize("name", DIGESTS)
def test_all_names(name: str) -> None:
    lines = weights(name)
    digest = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
    assert (len(lines), digest[:16]) == DIGESTS[name]


def test_every_network_that_names_torchvision_as_its_source_is_checked() -> None:
    assert {e.name for e in zoo.TABLE if e.source.startswith("torchvision")} == DIGESTS.keys()


def test_a_state_dict_loads_as_it_is(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    shapes = [line.split() for line in (HERE / "resnet18.txt").read_text(encoding="utf-8").splitlines()]
    state = {name: random.random([int(d) for d in shape.split("x")], np.float32) for name, shape in shapes}
    state["bn1.num_batches_tracked"] = np.array(7)
    np.savez(tmp_path / "resnet18.npz", **state)
    graph = zoo.load("resnet18", weights=tmp_path / "resnet18.npz")
    held = {v.name: v.constant for v in graph.constants}
    assert all(np.array_equal(held[name], array) for name, array in state.items() if name in held)
    assert len(held) == len(state) - 1
    del state["layer4.1.bn2.running_var"]
    with pytest.raises(ModelError, match=r"missing: layer4.1.bn2.running_var f32\[512\]"):
        cnncc.network(zoo.find("resnet18").path, "resnet18", weights=state)
