"""Mutants of IR text, which `cnncc opt` reads: parsed, printed and read again."""

from __future__ import annotations

import functools

import numpy as np

from . import networks
from .network_seeds import SEEDS
from .subject import Subject

_LOOP = """graph @loop(%x: f32[2,3], %n: i64[], %go: bool[]) {
  %c = const [1,-1] : i64[2]
  %w = const @w : f32[3,4]
  %0, "%odd" = Split(%x) {num_outputs=2} : f32[1,3], f32[1,3] @split
  %1 = Conv(%y, none, %w) {pads=[1,1,1,1], activation=clip(0.0,6.0)} : f32[N,H//2 + 1] @"a name"
  return %0 as "first", %c
}""".replace('"%odd"', '%"odd"')


@functools.cache
def _seeds() -> list[str]:
    from cnncc.frontends.dsl import build_network
    from cnncc.ir import format_graph

    # Weights are zeros where the text only names them, which no scale of a Resize may be.
    graphs = [build_network(text, seed=None) for text in SEEDS if "upsample" not in text and "Resize" not in text]
    return [*map(format_graph, graphs), _LOOP]


def mutant(rng: np.random.Generator) -> bytes:
    """A few changes of the text of a graph."""
    seeds = _seeds()
    text = seeds[rng.integers(len(seeds))]
    for _ in range(min(int(rng.geometric(0.5)), 8)):
        text = networks.MUTATIONS[rng.integers(len(networks.MUTATIONS))](rng, text)
    return text[:100_000].encode("utf-8", "replace")


def attempt(data: bytes) -> str:
    from cnncc.ir import format_graph, parse_graph, verify
    from cnncc.ops import OPS

    graph = parse_graph(data.decode(), OPS)
    verify(graph)
    shown = format_graph(graph)
    assert format_graph(parse_graph(shown, OPS)) == shown, "printed, it means something else"
    return "read again"


def prepare() -> None:
    for text in _seeds()[:-1]:
        attempt(text.encode())


SUBJECT = Subject(mutant, attempt, prepare, ".ir", seconds=20.0)
