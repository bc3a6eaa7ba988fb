"""One case run and judged, a failing one kept as a graph with its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cnncc.ir import Graph, TensorType
from cnncc.ir.printer import format_graph
from cnncc.ir.types import DType
from cnncc.runtime.cpu import native
from cnncc.runtime.cpu.lowering import PLAIN, Refusal
from tests.runtime.cpu.lowered import Prepared, Setting, prepare, run_lowered

from .bounds import UNIT, error_bound, exact
from .draws import DRAWS, Case, draw

Array = np.ndarray[Any, Any]


@dataclass
class Tally:
    """Cases by kind, the worst share of each kind's bound that was used, and what failed."""

    ran: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


def select(seed: int, numbers: range, lanes: int, each: int) -> tuple[list[int], list[native.Key]]:
    """The cases that need of each kind's kernels only the first ``each``, and these kernels."""
    chosen: list[int] = []
    found: dict[str, dict[native.Key, None]] = {}
    for number in numbers:
        kind, case = draw(seed, number, lanes)
        step, keys = _prepared(case, lanes), found.setdefault(kind, {})
        if step is not None and step.launch.key not in keys and len(keys) == each:
            continue
        chosen.append(number)
        if step is not None:
            keys[step.launch.key] = None
    return chosen, sorted({key for keys in found.values() for key in keys}, key=str)


def _prepared(case: Case, lanes: int) -> Prepared | None:
    """None where there is no kernel: choosing one then needs a reason."""
    found = prepare(case.op, case.arrays, case.constants, _layouts(case), lanes, 1, case.choice)
    if isinstance(found, Refusal):
        assert found.reason
        return None
    return found


def _layouts(case: Case) -> list[str]:
    return [*case.layouts, *[PLAIN] * len(case.arrays)][:len(case.arrays)]


def judge(case: Case, setting: Setting) -> float | None:
    """The largest share of its bound that an element's error is, None where there is no kernel."""
    with np.errstate(all="ignore"):
        wanted = exact(case.op, case.arrays)
        bound = error_bound(case.op, case.arrays, case.choice, wanted)
    results = run_lowered(case.op, case.arrays, case.constants, _layouts(case), setting, 1, case.choice)
    if isinstance(results, Refusal):
        return None
    [got] = results
    assert got.shape == wanted.shape, f"{got.shape} instead of {wanted.shape}"
    assert np.isfinite(got).all() or not np.isfinite(wanted).all(), "NaN or infinity"
    error = np.abs(got - wanted)
    with np.errstate(all="ignore"):
        share = np.where(error <= bound, np.nan_to_num(error / bound), np.inf)
    if not np.all(error <= bound):
        at = np.unravel_index(np.argmax(error - bound), error.shape)
        limit = np.broadcast_to(bound, error.shape)[at]
        raise AssertionError(f"element {tuple(map(int, at))} is {got[at]!r} instead of {wanted[at]!r}: "
                             f"an error of {error[at] / UNIT:.3g} u, {error[at] / max(limit, 1e-300):.3g} of the bound")
    return float(share.max(initial=0.0))


def run_cases(seed: int, numbers: Iterable[int], lanes: int, keep: Path, last: Path | None = None) -> Tally:
    """Runs cases by number; `last` holds, at any time, the number of the one that runs (a crash leaves it behind)."""
    tally = Tally()
    for number in numbers:
        if last is not None:
            last.write_text(f"{seed} {number}")
        kind, case = draw(seed, number, lanes)
        setting = Setting(lanes, 1 + number // len(DRAWS) % 2, number % 3 == 0, bool(number // len(DRAWS) // 2 % 2))
        try:
            share = judge(case, setting)
        except Exception as error:
            keep_case(keep, seed, number, case, repr(error))
            tally.failed.append(f"--seed {seed} --first {number}: {kind}: {error}")
            continue
        tally.ran[kind if share is not None else f"{kind}, refused"] += 1
        tally.worst[kind] = max(tally.worst.get(kind, 0.0), share or 0.0)
    return tally


def keep_case(folder: Path, seed: int, number: int, case: Case, error: str) -> None:
    """The case as IR text (with what was forced, and the error, as comments) and its arrays by name."""
    graph, names = Graph(f"case_{seed}_{number}"), ("x", "w", "b", "r")
    values = [None if a is None else graph.add_constant(a, name) if i in case.constants
              else graph.add_input(name, TensorType(DType.of(a.dtype), a.shape))
              for i, (name, a) in enumerate(zip(names, case.arrays, strict=False))]
    while values and values[-1] is None:
        values.pop()
    graph.set_outputs([graph.add_node(case.op, values).output])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / graph.name
    text = f"// {error}\n// {case.choice}, layouts {case.layouts}\n{format_graph(graph)}\n"
    path.with_suffix(".ir").write_text(text, encoding="utf-8")
    kept: dict[str, Any] = {n: a for n, a in zip(names, case.arrays, strict=False) if a is not None}
    np.savez(path.with_suffix(".npz"), **kept)
