"""Einsum against onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cnncc.ir import DType, Op
from cnncc.ops.einsum import Einsum

from .cases import Case, assert_refused, check, check_half, inferred, normal, trials


def einsum(equation: str, *shapes: tuple[int, ...]) -> Case:
    return Case(Einsum(equation), tuple(normal(*s, seed=i) for i, s in enumerate(shapes)), tolerance=2.0)


CASES = [
    einsum("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    einsum("bhid, bhjd -> bhij", (2, 2, 3, 4), (2, 2, 5, 4)),
    einsum("ij->ji", (3, 4)),
    einsum("ij->", (3, 4)),
    einsum("ii->i", (4, 4)),
    einsum("ij,jk", (3, 4), (4, 2)),
    einsum("i,j->ij", (3,), (4,)),
    einsum("...ij,...jk->...ik", (5, 2, 3, 4), (5, 1, 4, 2)),
    einsum("ab,bc,cd->ad", (2, 3), (3, 4), (4, 2)),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_half(case: Case) -> None:
    check_half(case)


@pytest.mark.parametrize(("equation", "operands", "types"), [
    ("bij,bjk->bik", ["f32[B,3,D]", "f32[B,D,5]"], "f32[B,3,5]"),
    ("...i,i->...", ["f32[N,M,4]", "f32[4]"], "f32[N,M]"),
    ("ba", ["f32[2,3]"], "f32[3,2]"),
])
def test_infer(equation: str, operands: list[str], types: str) -> None:
    assert inferred(Einsum(equation), *operands) == types


@pytest.mark.parametrize(("make", "operands", "message"), [
    (lambda: Einsum("i;j"), [], "Einsum: 'i;j' is not an equation such as 'bij,bjk->bik'"),
    (lambda: Einsum("i..->i"), [], "Einsum: 'i..->i' is not an equation"),
    (lambda: Einsum("ij"), ["f32[2]"], "Einsum: 'ij' of 'ij' does not fit f32[2]"),
    (lambda: Einsum("i,j"), ["f32[2]"], "Einsum: 'i,j' is about 2 inputs, but there are 1"),
    (lambda: Einsum("i->k"), ["f32[2]"], "Einsum: no input of 'i->k' has the letter 'k' of the output"),
    (lambda: Einsum("i,i->i"), ["f32[2]", "f32[3]"],
     "Einsum: the letter 'i' of 'i,i->i' stands for axes of sizes [2,3]"),
])
def test_wrong_input(make: Callable[[], Op], operands: list[str | None], message: str) -> None:
    assert_refused(make, operands, message)
