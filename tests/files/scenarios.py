"""What cnncc writes: plans, entries of the kernel cache, tuning files, and files that verbs were asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

import cnncc
from cnncc.cli.run import _write as write_results
from cnncc.ir import parse_graph
from cnncc.ops import OPS
from cnncc.planfile import plan_bytes, read_plan, write_plan
from cnncc.runtime.cpu import kernel_cache
from cnncc.runtime.cpu.tuning.findings import Findings

from .crashes import Scenario

__all__ = ["scenarios"]

CODE = bytes(range(256)) * 40
NAME = "0123.kernel"
SECONDS = {"conv a": {"conv_direct": 0.25, "conv_winograd": 0.5}}


def plan_of(weights: int, channels: int) -> cnncc.Plan:
    """Of so many weights f32[channels,channels]."""
    rng = np.random.default_rng(weights)
    lines = [f"%w{i} = const @w{i} : f32[{channels},{channels}]" for i in range(weights)]
    lines += [f"%y{i + 1} = MatMul(%y{i}, %w{i}) : f32[2,{channels}]" for i in range(weights)]
    text = f"graph @net(%y0: f32[2,{channels}]) {{\n" + "\n".join(lines) + f"\nreturn %y{weights}\n}}"
    arrays = {f"w{i}": rng.standard_normal((channels, channels), np.float32) for i in range(weights)}
    return cnncc.compile(parse_graph(text, OPS, arrays), warm=False)


def scenarios() -> list[Scenario]:
    small, large, many = plan_of(1, 4), plan_of(1, 900), plan_of(24, 50)
    old = plan_bytes(plan_of(2, 3))
    return [
        plan("a new plan", None, small), plan("a plan replaced", old, small), plan("a large plan replaced", old, large),
        plan("a plan of many weights", old, many), plan("a plan behind a link", old, small, behind_link),
        entry("a new cache entry", None), entry("a damaged cache entry", b"damaged"),
        entry("a cache entry replaced", kernel_cache._MAGIC + kernel_cache._digest(NAME, b"old") + b"old"),
        tuning("a new tuning file", None), tuning("a tuning file added to", tuning_text({"conv b": {"c": 1.0}})),
        tuning("a damaged tuning file", b"{"),
        results("results of a run"),
    ]


def plan(name: str, old: bytes | None, plan: cnncc.Plan, write: Callable[[cnncc.Plan, Path], None] | None = None
         ) -> Scenario:
    new = plan_bytes(plan)
    target = write or (lambda plan, place: write_plan(plan, place / "net.plan"))
    return Scenario(name, old, lambda place: target(plan, place), lambda place: place / "net.plan", new.__eq__,
                    lambda place: read_plan(place / "net.plan"))


def behind_link(plan: cnncc.Plan, place: Path) -> None:
    """The link is beside the folder: it is there before anything is disturbed."""
    write_plan(plan, place.parent / "link")


def in_cache(place: Path) -> None:
    """The kernel cache is in this folder from now on."""
    kernel_cache.cache_folder.cache_clear()
    kernel_cache._remove_stale.cache_clear()
    kernel_cache.cache_base = lambda: place


def entry(name: str, old: bytes | None) -> Scenario:
    def write(place: Path) -> None:
        in_cache(place)
        kernel_cache.write_entry(NAME, CODE)

    def read(place: Path) -> object:
        in_cache(place)
        found = kernel_cache.read_entry(NAME)
        assert found in (None, b"old", CODE)
        return found

    new = kernel_cache._MAGIC + kernel_cache._digest(NAME, CODE) + CODE
    return Scenario(name, old, write, lambda place: place / "cnncc" / NAME, new.__eq__, read, silent=True)


def tuning_text(seconds: dict[str, dict[str, float]]) -> bytes:
    return json.dumps({"format": 1, "machine": {}, "seconds": seconds}, indent=1).encode()


def tuning(name: str, old: bytes | None) -> Scenario:
    """Those of another process that wrote the file meanwhile are kept."""
    before = json.loads(old)["seconds"] if old and len(old) > 9 else {}

    def write(place: Path) -> None:
        Findings({}, place / "tuning.json", SECONDS).save()

    def read(place: Path) -> object:
        kept = Findings({}, place / "tuning.json").path
        assert kept is not None
        return kept.read_bytes()

    # A file that cannot be read is taken for none.
    new = {tuning_text(before | SECONDS), tuning_text(SECONDS)}
    return Scenario(name, old, write, lambda place: place / "tuning.json", new.__contains__, read, silent=True)


def results(name: str) -> Scenario:
    arrays = {"scores": np.arange(5000, dtype=np.float32), "boxes": np.ones((30, 4))}

    def is_new(data: bytes) -> bool:
        return data.startswith(b"PK") and len(data) > 20000

    def read(place: Path) -> object:
        with np.load(place / "out.npz") as found:
            return {name: found[name] for name in arrays}

    return Scenario(name, None, lambda place: write_results(place / "out.npz", arrays), lambda place: place / "out.npz",
                    is_new, read)
