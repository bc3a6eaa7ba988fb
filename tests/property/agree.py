"""Random networks at every level and accuracy, against float64 and ONNX Runtime.

    python -m tests.property.agree --networks 5000        # part of `make property`
    python -m tests.property.agree --seed 7 --first 123 --networks 1
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import cnncc
from cnncc.ir import Graph, evaluate, format_graph, verify

from .networks import feeds_of, random_network

Array = np.ndarray[Any, Any]

LEVELS, ACCURACIES = (0, 1, 2), ("high", "default", "fast")
# Of the largest number of an output, what an error may be; and how many times the error of the references in float32.
SHARE = {"high": 4e-6, "default": 2e-5, "fast": 6e-5}
TIMES = 32


class Disagreement(AssertionError):
    """An output is further from the exact one than it may be."""


@dataclass
class Tally:
    """What was compared, the largest share of what an error may be, and what failed."""

    ran: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


@dataclass
class Exact:
    """A network's inputs, its exact outputs, and how far the references in float32 are from these."""

    feeds: dict[str, Array]
    outputs: dict[str, Array]
    noise: dict[str, float]

    @staticmethod
    def of(graph: Graph, feeds: dict[str, Array]) -> Exact:
        with np.errstate(all="ignore"):
            outputs, single = evaluate(graph, feeds, fp64=True), evaluate(graph, feeds)
        noise = {n: float(np.abs(single[n] - a).max(initial=0.0)) for n, a in outputs.items()}
        return Exact(feeds, outputs, noise)

    def share(self, found: dict[str, Array], accuracy: str) -> float:
        """The largest error, in what it may be. Raises Disagreement if that is more than 1."""
        worst = 0.0
        for name, wanted in self.outputs.items():
            got = found[name]
            if got.shape != wanted.shape:
                raise Disagreement(f"{name} has the shape {got.shape}, not {wanted.shape}")
            allowed = SHARE[accuracy] * np.abs(wanted).max(initial=1e-3) + TIMES * self.noise[name]
            error = np.abs(got - wanted)
            if not np.all(error <= allowed):
                far = np.argmax(np.where(np.isnan(error), np.inf, error))
                at = tuple(map(int, np.unravel_index(far, error.shape)))
                raise Disagreement(f"{name}{list(at)} is {got[at]!r} instead of {wanted[at]!r}; an error may be "
                                   f"{allowed:.3g}")
            worst = max(worst, float(error.max(initial=0.0) / allowed))
        return worst


def modes(graph: Graph) -> Iterable[tuple[int, str]]:
    """Levels and accuracies that may differ."""
    yield from ((level, "default") for level in LEVELS)
    if any(node.op.op_type == "Conv" for node in graph.walk()):
        yield from ((2, accuracy) for accuracy in ("high", "fast"))


def run_with_cnncc(graph: Graph, feeds: dict[str, Array], level: int, accuracy: str) -> dict[str, Array]:
    plan = cnncc.compile(graph, level=level, accuracy=accuracy)
    names = [port.name for port in plan.outputs]
    return dict(zip(names, cnncc.InferenceSession(plan).run(None, feeds), strict=True))


def run_with_onnxruntime(graph: Graph, feeds: dict[str, Array]) -> dict[str, Array]:
    import onnxruntime

    from cnncc.frontends.onnx.exporter import export_model

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(export_model(graph).SerializeToString(), options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def try_network(seed: int, number: int, tally: Tally) -> None:
    """Compares one network in all modes. Raises Disagreement, with the mode, at the first difference."""
    graph = random_network(seed, number)
    verify(graph)
    exact = Exact.of(graph, feeds_of(graph, seed, number))
    if not all(np.isfinite(a).all() and np.abs(a).max(initial=0.0) < 1e6 for a in exact.outputs.values()):
        tally.ran["too large numbers"] += 1
        return
    for level, accuracy in modes(graph):
        mode = f"-O{level} {accuracy}"
        check(tally, mode, exact, accuracy, lambda level=level, accuracy=accuracy: run_with_cnncc(
            random_network(seed, number), exact.feeds, level, accuracy))
    check(tally, "ONNX Runtime", exact, "default", lambda: run_with_onnxruntime(graph, exact.feeds))


def check(tally: Tally, mode: str, exact: Exact, accuracy: str, run: Any) -> None:
    try:
        share = exact.share(run(), accuracy)
    except Disagreement as error:
        raise Disagreement(f"{mode}: {error}") from None
    except Exception as error:
        raise Disagreement(f"{mode}: {type(error).__name__}: {error}") from error
    tally.ran[mode] += 1
    tally.worst[mode] = max(tally.worst.get(mode, 0.0), share)


def run_networks(seed: int, numbers: Iterable[int], keep: Path, last: Path | None = None,
                 until: float = float("inf")) -> tuple[Tally, int]:
    """Tries networks by number while the clock allows it; what fails is kept. Also the number after the last one."""
    tally, number = Tally(), -1
    for number in numbers:
        if last is not None:
            last.write_text(f"{seed} {number}")
        try:
            try_network(seed, number, tally)
        except Disagreement as error:
            tally.failed.append(f"--seed {seed} --first {number}: {error}")
            keep_network(keep, seed, number, str(error))
        if time.monotonic() > until:
            break
    return tally, number + 1


def keep_network(folder: Path, seed: int, number: int, error: str) -> None:
    """The network as IR text and its weights and inputs by name."""
    graph = random_network(seed, number)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / graph.name
    path.with_suffix(".ir").write_text(f"// {error}\n{format_graph(graph)}\n", encoding="utf-8")
    arrays = {v.name: v.constant for v in graph.constants if v.constant is not None}
    np.savez(path.with_suffix(".npz"), **arrays, **feeds_of(graph, seed, number))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.property.agree", description=__doc__)
    parser.add_argument("--networks", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first network")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no network is begun after so many")
    parser.add_argument("--keep", type=Path, default=Path("failures"), help="a folder for failing networks")
    parser.add_argument("--last", type=Path, help="a file for the number of the network that runs")
    options = parser.parse_args()
    begin = time.monotonic()
    numbers = range(options.first, options.first + options.networks)
    tally, end = run_networks(options.seed, numbers, options.keep, options.last, begin + options.seconds)
    for mode, count in sorted(tally.ran.items()):
        print(f"{count:7} {mode:20}{100 * tally.worst.get(mode, 0.0):6.1f} % of what an error may be")
    for text in tally.failed:
        print(f"FAILED {text}")
    print(f"networks {options.first} to {end - 1} of seed {options.seed}: {len(tally.failed)} failed, in "
          f"{time.monotonic() - begin:.1f} s")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
