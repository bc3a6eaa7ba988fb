"""Small networks that between them take every way through a run, with arrays to feed them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import cnncc.zoo
from cnncc import InferenceSession, compile
from cnncc.ir import parse_graph
from cnncc.ops import OPS
from cnncc.plan import Plan

__all__ = ["NETWORKS", "Network", "Results", "outputs_of", "same"]

Feeds = dict[str, np.ndarray]
Results = list[np.ndarray]

# Sizes that callers choose; the surplus lanes of blocked buffers (5 and 20 channels) hold what nobody wrote.
DYNAMIC = """graph @dynamic(%x: f32[N,3,H,W]) {
  %w = const @w : f32[20,3,3,3]
  %v = const @v : f32[5,20,1,1]
  %0 = Conv(%x, %w) {pads=[1,1,1,1], activation=relu} : f32[N,20,H,W]
  %1 = MaxPool(%0) {kernel_shape=[2,2], strides=[2,2]} : f32[N,20,H//2,W//2]
  %2 = Conv(%1, %v) : f32[N,5,H//2,W//2]
  %3 = GlobalAveragePool(%2) : f32[N,5,1,1]
  return %2 as "map", %3 as "mean"
}"""
# Sizes that the data decide, and a step without a native kernel (GatherND).
REGIONS = """graph @regions(%x: f32[1,3,H,8]) {
  %w = const @w : f32[20,3,3,3]
  %c = Conv(%x, %w) {pads=[1,1,1,1]} : f32[1,20,H,8]
  %r = Relu(%c) : f32[1,20,H,8]
  %half = const 0.5 : f32[]
  %b = Greater(%r, %half) : bool[1,20,H,8]
  %nz = NonZero(%b) : i64[4,found]
  %places = Transpose(%nz) {perm=[1,0]} : i64[found,4]
  %y = GatherND(%r, %places) : f32[found]
  %z = Sigmoid(%r) : f32[1,20,H,8]
  return %y, %z, %nz
}"""
BODIES = """graph @bodies(%x: f32[2,4], %c: bool[], %m: i64[]) {
  %0 = If(%c, %x) : f32[u0,4]
    then_branch = graph @then(%x: f32[K,4]) {
      %a = Sigmoid(%x) : f32[K,4]
      return %a
    }
    else_branch = graph @else(%x: f32[L,4]) {
      %b = Concat(%x, %x) {axis=0} : f32[2*L,4]
      return %b
    }
  %1, %2 = Loop(%m, none, %x) {carried=1} : f32[2,4], f32[u1,2,4]
    body = graph @body(%i: i64[], %go: bool[], %v: f32[2,4]) {
      %d = Add(%v, %v) : f32[2,4]
      return %go, %d, %v
    }
  return %0 as "either", %1 as "last", %2 as "all"
}"""


@dataclass(frozen=True)
class Network:
    """A plan, and feeds for it: of number k, its sizes and its contents those of k."""

    make: Callable[[], Plan]
    feeds: Callable[[int], Feeds]

    @property
    def plan(self) -> Plan:
        return _made(self.make)


@cache
def _made(make: Callable[[], Plan]) -> Plan:
    return make()


def _random(k: int, *shape: int) -> np.ndarray:
    return np.random.default_rng([k, *shape]).standard_normal(shape, dtype=np.float32)


def _graph(text: str, **weights: tuple[int, ...]) -> Callable[[], Plan]:
    return lambda: compile(parse_graph(text, OPS, {n: _random(1, *shape) / 4 for n, shape in weights.items()}))


def _lenet() -> Plan:
    return compile(Path(cnncc.zoo.__file__).with_name("lenet5.cnn"), shapes={"N": 1})


def _body_feeds(k: int) -> Feeds:
    return {"x": _random(k, 2, 4), "c": np.array(k % 2 == 0), "m": np.array(k % 5, np.int64)}


NETWORKS = {
    "lenet": Network(_lenet, lambda k: {"image": _random(k, 1, 1, 32, 32)}),
    "dynamic": Network(_graph(DYNAMIC, w=(20, 3, 3, 3), v=(5, 20, 1, 1)),
                       lambda k: {"x": _random(k, 1 + k % 3, 3, 4 + k % 7, 5 + k % 53)}),
    "regions": Network(_graph(REGIONS, w=(20, 3, 3, 3)), lambda k: {"x": _random(k, 1, 3, 4 + k % 9, 8)}),
    "bodies": Network(_graph(BODIES), _body_feeds),
}


def outputs_of(session: InferenceSession, network: Network, numbers: range) -> dict[int, Results]:
    return {k: session.run(None, network.feeds(k)) for k in numbers}


def same(got: Any, wanted: Any) -> bool:
    """Whether lists of arrays are equal, bit for bit."""
    return all(a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
               for a, b in zip(got, wanted, strict=True))
