"""Symbolic dimensions: arithmetic commutes with evaluation, equal expressions are equal, text is read back."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncc.errors import GraphError
from cnncc.ir import Dim, DimLike, evaluate_dim, parse_dim, solve_dim, symbol, symbols_of

N, H = symbol("N"), symbol("H")
NAMES = ("N", "H", "W_2")
BINARY: tuple[Callable[[DimLike, DimLike], DimLike], ...] = (
    operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod)

leaves: st.SearchStrategy[DimLike] = st.one_of(st.integers(-6, 6), st.sampled_from(NAMES).map(symbol))
sizes = st.fixed_dictionaries({name: st.integers(0, 9) for name in NAMES})


def _combined(parts: st.SearchStrategy[DimLike]) -> st.SearchStrategy[DimLike]:
    def combine(a: DimLike, b: DimLike, c: int, op: Callable[[DimLike, DimLike], DimLike]) -> DimLike:
        return op(a, c if op in (operator.floordiv, operator.mod) else b)

    return st.builds(combine, parts, parts, st.integers(1, 6), st.sampled_from(BINARY))


dims: st.SearchStrategy[DimLike] = st.recursive(leaves, _combined, max_leaves=8)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(a=dims, b=dims, bindings=sizes)
def test_evaluation_commutes_with_arithmetic(a: DimLike, b: DimLike, bindings: dict[str, int]) -> None:
    x, y = evaluate_dim(a, bindings), evaluate_dim(b, bindings)
    assert isinstance(x, int) and isinstance(y, int)
    for op in BINARY[:3]:
        assert evaluate_dim(op(a, b), bindings) == op(x, y)
    if y != 0 and b != 0:
        assert evaluate_dim(a // b, bindings) == x // y
        assert evaluate_dim(a % b, bindings) == x % y


@settings(max_examples=300, deadline=None, derandomize=True)
@given(d=dims)
def test_text_round_trip(d: DimLike) -> None:
    assert parse_dim(str(d)) == d
    assert parse_dim(str(d).replace(" ", "")) == d


@settings(max_examples=200, deadline=None, derandomize=True)
@given(a=dims, b=dims, c=dims)
def test_ring_laws_hold_as_equality(a: DimLike, b: DimLike, c: DimLike) -> None:
    assert a + b == b + a
    assert a * b == b * a
    assert (a + b) + c == a + (b + c)
    assert a * (b + c) == a * b + a * c
    assert a - a == 0 and isinstance(a - a, int)
    assert hash(a + b) == hash(b + a)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(d=dims, first=sizes, then=sizes)
def test_evaluation_in_two_steps(d: DimLike, first: dict[str, int], then: dict[str, int]) -> None:
    partly = evaluate_dim(d, {"N": first["N"]})
    assert "N" not in set(symbols_of(partly))
    assert evaluate_dim(partly, then) == evaluate_dim(d, {**then, "N": first["N"]})


@pytest.mark.parametrize(("made", "text"), [
    (N + 1, "N + 1"),
    (1 - N, "-N + 1"),
    (N * H * 2 - 3, "2*H*N - 3"),
    (H // 2, "H//2"),
    ((H + 3) // 2, "(H + 1)//2 + 1"),
    ((H - 1) // 2 + 1, "(H + 1)//2"),
    (-(H // 2), "-(H//2)"),
    (3 * (H // 2) * N, "3*(H//2)*N"),
    ((H // 2) // 3, "H//6"),
    ((H // 2 + 1) // 3, "(H//2 + 1)//3"),
    ((4 * H + 2) // 4, "H"),
    (N * H // N, "H"),
    (6 * N * H // (2 * H), "3*N"),
    (N // H, "N//H"),
    (N // N, "1"),
    (H // -2, "(-H)//2"),
    (H % 2, "H - 2*(H//2)"),
    (7 // N, "7//N"),
    (0 * N, "0"),
])
def test_normal_form(made: DimLike, text: str) -> None:
    assert str(made) == text
    assert parse_dim(text) == made


def test_a_constant_is_an_int() -> None:
    assert isinstance(N - N + 4, int)
    assert isinstance(evaluate_dim(N * 2, {"N": 3}), int)
    assert isinstance(evaluate_dim(N * H, {"N": 3}), Dim)


@pytest.mark.parametrize("text, size, solution", [
    ("N", 7, ("N", 7)), ("16*H", 48, ("H", 3)), ("2*H + 1", 9, ("H", 4)), ("7 - H", 2, ("H", 5)), ("16*H", 0, ("H", 0)),
    ("16*H", 47, None), ("H + 8", 7, None), ("N*H", 6, None), ("N + H", 6, None), ("H//2", 3, None), ("4", 4, None),
])
def test_solve_dim(text: str, size: int, solution: tuple[str, int] | None) -> None:
    assert solve_dim(parse_dim(text), size) == solution


def test_symbols_of() -> None:
    assert list(symbols_of((N + H) // 2 * N)) == ["H", "N", "N"]
    assert list(symbols_of(7)) == []


@pytest.mark.parametrize(("text", "message"), [
    ("", "an end"),
    ("N +", "an end"),
    ("N $ 2", "'N $ 2' is not a dimension: use integers, names, + - * // % and brackets"),
    ("N 2", "'N 2' is not a dimension: unexpected '2'"),
    ("(N", "a dimension lacks a closing bracket"),
    ("N // 0", "division of a dimension by zero"),
    ("N % 0", "division of a dimension by zero"),
    ("N / 2", "'N / 2' is not a dimension"),
    ("(" * 50 + "N" + ")" * 50, "nested deeper than 32 levels"),
    ("*".join(f"(a{i}+b{i})" for i in range(40)), "more than 512 parts or 64 factors"),
    ("*".join(f"({'+'.join(f'{x}{i}' for i in range(40))})" for x in "ab"), "has more than 1000 terms"),
    ("+".join(f"a{i}" for i in range(600)), "more than 512 parts"),
    ("*".join(["N"] * 65), "more than 512 parts or 64 factors"),
    ("*".join(["9223372036854775807"] * 2) + "*N", "numbers of more than 64 bits"),
    ("9" * 5000, "unexpected '9999999999999999999'"),
    ("-" * 50 + "N", "nested deeper than 32 levels"),
])
def test_wrong_text(text: str, message: str) -> None:
    with pytest.raises(GraphError) as caught:
        parse_dim(text)
    assert message in str(caught.value)


def test_wrong_arithmetic() -> None:
    with pytest.raises(GraphError, match="division of the dimension N by zero"):
        N // 0
    with pytest.raises(GraphError, match="'2x' is not a name for a dimension"):
        symbol("2x")
    with pytest.raises(TypeError):
        N + 0.5  # type: ignore[operator]


def test_expressions_that_grow() -> None:
    """What squares a size, or divides it twice and adds up, reaches a limit at once, not an endless expression."""
    for step in (lambda d: d * d, lambda d: d // 2 + d // 3, lambda d: (d // 2) * (d // 3), lambda d: d * 1000003):
        d: Any = N
        with pytest.raises(GraphError, match="fix the symbolic dimensions that it depends on"):
            for _ in range(100):
                d = step(d)
    d = N
    with pytest.raises(GraphError, match="divided more than 48 times"):
        for _ in range(100):
            d = (d + 1) // 3 * 2
    assert len(str(d)) < 2000


def test_wrong_division_at_evaluation() -> None:
    with pytest.raises(GraphError, match="by zero"):
        evaluate_dim(N // H, {"N": 3, "H": 0})
