"""Shape arithmetic: sizes computed by the network's own nodes, exact while dimensions are symbolic."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncc.errors import GraphError
from cnncc.ir import DimLike, Op, evaluate, evaluate_dim, format_graph, parse_dim, parse_graph, verify
from cnncc.ops import OPS
from cnncc.ops.sizes import agree, is_equal, is_less, larger, lower_bound, smaller

from .test_shape import given_sizes

FLATTEN = """
graph @flatten(%x: f32[N,8,H,W]) {
  %s = Shape(%x) : i64[4]
  %0 = const 0 : i64[]
  %n = Gather(%s, %0) : i64[]
  %axes = const [0] : i64[1]
  %n1 = Unsqueeze(%n, %axes) : i64[1]
  %rest = const [-1] : i64[1]
  %target = Concat(%n1, %rest) {axis=0} : i64[2]
  %y = Reshape(%x, %target) : f32[N,8*H*W]
  return %y
}
"""

SHUFFLE = """
graph @channel_shuffle(%x: f32[N,8,H,W]) {
  %s = Shape(%x) : i64[4]
  %i0 = const 0 : i64[]
  %i1 = const 1 : i64[]
  %i2 = const [2] : i64[1]
  %i3 = const 3 : i64[]
  %axes = const [0] : i64[1]
  %n = Gather(%s, %i0) : i64[]
  %c = Gather(%s, %i1) : i64[]
  %h1 = Gather(%s, %i2) : i64[1]
  %w = Gather(%s, %i3) : i64[]
  %groups = const 2 : i64[]
  %per_group = Div(%c, %groups) : i64[]
  %n1 = Unsqueeze(%n, %axes) : i64[1]
  %g1 = Unsqueeze(%groups, %axes) : i64[1]
  %p1 = Unsqueeze(%per_group, %axes) : i64[1]
  %w1 = Unsqueeze(%w, %axes) : i64[1]
  %grouped = Concat(%n1, %g1, %p1, %h1, %w1) {axis=0} : i64[5]
  %a = Reshape(%x, %grouped) : f32[N,2,4,H,W]
  %b = Transpose(%a) {perm=[0,2,1,3,4]} : f32[N,4,2,H,W]
  %rest = const [-1] : i64[1]
  %flat = Concat(%n1, %rest, %h1, %w1) {axis=0} : i64[4]
  %y = Reshape(%b, %flat) : f32[N,8,H,W]
  return %y
}
"""

HALVES = """
graph @halves(%x: f32[N,8,H,W]) {
  %s = Shape(%x) {start=2} : i64[2]
  %two = const [2] : i64[1]
  %half = Div(%s, %two) : i64[2]
  %zero = const [0,0] : i64[2]
  %axes = const [2,3] : i64[2]
  %y = Slice(%x, %zero, %half, %axes) : f32[N,8,H//2,W//2]
  %z = Slice(%x, %half, %s, %axes) : f32[N,8,H-(H//2),W-(W//2)]
  return %y, %z
}
"""

EXPAND = """
graph @expand(%x: f32[N,3,H,W], %t: f32[1,1,1,1]) {
  %wanted = const [-1,-1,-1,-1] : i64[4]
  %s = Shape(%x) : i64[4]
  %minus = const [-1] : i64[1]
  %free = Equal(%wanted, %minus) : bool[4]
  %target = Where(%free, %s, %wanted) : i64[4]
  %y = Expand(%t, %target) : f32[N,3,H,W]
  return %y
}
"""

SIZES = """
graph @sizes(%x: f32[N,3,H,W]) {
  %count = Size(%x) : i64[]
  %axes = const [0] : i64[1]
  %count1 = Unsqueeze(%count, %axes) : i64[1]
  %flat = Reshape(%x, %count1) : f32[3*N*H*W]
  %s = Shape(%x) : i64[4]
  %parts = const [2,2] : i64[2]
  %front, %back = Split(%s, %parts) : i64[2], i64[2]
  %pixels = ReduceProd(%back) : i64[1]
  %three = const [3] : i64[1]
  %n = Squeeze(%count1) : i64[]
  %narrow = Cast(%pixels) {to=i32} : i32[1]
  %wide = Cast(%narrow) {to=i64} : i64[1]
  %target = Concat(%wide, %three) {axis=0} : i64[2]
  %padded = Add(%target, %three) : i64[2]
  %twice = Mul(%padded, %parts) : i64[2]
  %less = Sub(%twice, %three) : i64[2]
  %y = ConstantOfShape(%less) : f32[2*H*W+3,9]
  return %flat, %y
}
"""

CHAINS = {"flatten": FLATTEN, "shuffle": SHUFFLE, "halves": HALVES, "expand": EXPAND, "sizes": SIZES}


@pytest.mark.parametrize("name", list(CHAINS))
def test_symbolic_shapes_are_exact(name: str) -> None:
    """The parser compares each written type with the inferred one; the numbers confirm them."""
    graph = parse_graph(CHAINS[name], OPS)
    verify(graph)
    for sizes in ({"N": 1, "H": 5, "W": 4}, {"N": 3, "H": 2, "W": 7}, {"N": 0, "H": 2, "W": 3}):
        feeds = {v.name: np.zeros(v.type.bind(sizes).static_shape, np.float32) for v in graph.inputs}
        for value, y in evaluate(graph, feeds, every=True).items():
            assert y.shape == graph.value(value).type.bind(sizes).shape, value
            known = graph.value(value).known
            if known is not None:
                assert [evaluate_dim(d, sizes) for d in known.ravel().tolist()] == y.ravel().tolist(), value


def test_shuffle_moves_what_it_should() -> None:
    x = np.arange(2 * 8 * 3 * 2, dtype=np.float32).reshape(2, 8, 3, 2)
    y = evaluate(parse_graph(SHUFFLE, OPS), {"x": x})["y"]
    np.testing.assert_array_equal(y, x[:, [0, 4, 1, 5, 2, 6, 3, 7]])


def test_data_that_give_a_shape() -> None:
    text = """\
graph @data(%x: f32[N], %s: i64[1]) {
  %y = Reshape(%x, %s) : f32[rows]
  return %y
}
"""
    graph = parse_graph(text, OPS)
    assert graph.value("y").producer.symbols == ("rows",)
    verify(graph)
    assert format_graph(graph) == text
    with pytest.raises(GraphError, match=r"line 2: %y is declared f32\[N\], but Reshape gives f32\[u0\]"):
        parse_graph(text.replace("rows", "N"), OPS)


def known(op: Op, *sizes: Any) -> Any:
    found = op.known(*(given_sizes(*s) for s in sizes))
    return None if found is None else [str(v) for v in found[0].ravel().tolist()]


@pytest.mark.parametrize(("name", "sizes", "result"), [
    ("Add", (("N", 3), (1, "N")), ["N + 1", "N + 3"]),
    ("Sub", (("N", 3), ("N", 1)), ["0", "2"]),
    ("Mul", (("N",), (2, "N")), ["2*N", "N*N"]),
    ("Div", (("4*N", "N", -7), (2, 2, 2)), ["2*N", "N//2", "-3"]),
    ("Div", (("N",), (0,)), None),
    ("Mod", (("4*N + 1", -7), (2, 2)), ["1", "1"]),
    ("Neg", (("N - 3",),), ["-N + 3"]),
    ("Min", (("N", "N + 2", "H"), ("N + 1", 0, "2*H")), ["N", "0", "H"]),
    ("Max", (("N", "N + 2", "H"), ("N + 1", 0, "H//2")), ["N + 1", "N + 2", "H"]),
    ("Min", (("N",), (3,)), None),
    ("Equal", (("N", "N", "N + 1", "N"), ("N", -1, 0, "N + 1")), ["True", "False", "False", "False"]),
    ("Equal", (("N",), (1,)), None),
    ("Less", (("N", "N//2", "N"), ("N + 1", "N + 1", -1)), ["True", "True", "False"]),
    ("Less", (("N",), (1,)), None),
    ("LessOrEqual", (("N", "N//2", 0), ("N", "N", "N")), ["True", "True", "True"]),
    ("Greater", (("N + 1", "N"), ("N", "N")), ["True", "False"]),
    ("GreaterOrEqual", (("N", "N"), (0, "N")), ["True", "True"]),
    ("Exp", (("N",),), None),
    ("ReduceSum", (("N", 3, "N"),), ["2*N + 3"]),
    ("ReduceMax", (("N", 3),), None),
    ("Transpose", (("N", 3),), ["N", "3"]),
    ("Tile", (("N", 3), (2,)), ["N", "3", "N", "3"]),
    ("Gather", (("N", 3, "H"), (2, -3)), ["H", "N"]),
    ("Gather", (("N", 3), ("N",)), None),
    ("Slice", (("N", 3, "H"), (-1,), (-4,), (0,), (-1,)), ["H", "3", "N"]),
])
def test_known(name: str, sizes: tuple[tuple[int | str, ...], ...], result: list[str] | None) -> None:
    expected = None if result is None else [r if r in ("True", "False") else str(parse_dim(r)) for r in result]
    assert known(OPS[name](), *sizes) == expected


BOUNDS = [
    ("N", 0), ("N + 3", 3), ("N - 3", -3), ("2*N*H + H", 0), ("-N", None), ("N - H", None), ("N - N//2", 0),
    ("N + 1 - (N + 1)//2", 1), ("(N + 1)//2 - N//2", None), ("N//2", 0), ("(N - 1)//2", -1), ("(N - H)//2", None),
    ("N//H", 0),
]


@pytest.mark.parametrize(("size", "bound"), BOUNDS)
def test_lower_bound(size: str, bound: int | None) -> None:
    assert lower_bound(parse_dim(size)) == bound


ATOMS = st.sampled_from(["N", "H", "N//2", "(H + 1)//3", "N*H", "(N*H)//4", "N//H", "1"])
SUMS = st.lists(st.tuples(st.integers(-3, 3), ATOMS), min_size=1, max_size=4).map(
    lambda terms: parse_dim(" + ".join(f"({c})*({a})" for c, a in terms)))
BINDINGS = [{"N": n, "H": h} for n in range(0, 9) for h in range(1, 9)]


def values(d: DimLike) -> list[int]:
    return [int(str(evaluate_dim(d, sizes))) for sizes in BINDINGS]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SUMS, SUMS)
def test_proofs_hold(a: DimLike, b: DimLike) -> None:
    pairs = list(zip(values(a), values(b), strict=True))
    proofs: list[tuple[bool | None, Callable[[int, int], bool]]] = [
        (is_less(a, b), operator.lt), (is_equal(a, b), operator.eq)]
    for proved, truth in proofs:
        if proved is not None:
            assert all(truth(x, y) == proved for x, y in pairs)
    bound = lower_bound(a)
    assert bound is None or all(x >= bound for x, _ in pairs)
    for chosen, pick in ((smaller(a, b), min), (larger(a, b), max)):
        assert chosen is None or values(chosen) == [pick(p) for p in pairs]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SUMS, SUMS)
def test_agreement_is_denied_only_where_none_can_be(a: DimLike, b: DimLike) -> None:
    if agree((a, b)) is None:
        assert all(evaluate_dim(a, s) != evaluate_dim(b, s) for s in BINDINGS if s["N"])
