"""Symbolic dimensions: integer expressions over named sizes, kept in a normal form.

A dimension of a tensor is a plain `int` or a `Dim`. A Dim is a sum of monomials with integer coefficients; a monomial
is a product of atoms; an atom is a symbol (`N`) or a floor division that could not be carried out (`(H + 1)//2`).
Two expressions that normalise to the same sum are equal, and an expression without symbols is an `int`, never a Dim.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Union

from ..errors import GraphError
from ..records import record

__all__ = ["Dim", "DimLike", "evaluate_dim", "is_unknown", "parse_dim", "solve_dim", "symbol", "symbols_of", "unknown"]

DimLike = Union[int, "Dim"]
Monomial = tuple["Atom", ...]

# What an expression may hold, with all within its divisions. Without limits a few operators that square a size, or that
# divide it twice and add up, make an expression of any length.
_MAX_TERMS = 1000   # of a product
_MAX_ATOMS = 512
_MAX_DEGREE = 64    # atoms multiplied
_MAX_NESTED = 48    # divisions within divisions
_MAX_FACTOR = 1 << 64  # beyond the largest steps of a Slice, which are added to sizes


@record
class FloorDiv:
    """The atom `num // den`, with num and den in normal form."""

    num: DimLike
    den: DimLike
    atoms: int = field(init=False, repr=False, compare=False)   # symbols and divisions, this one included
    nested: int = field(init=False, repr=False, compare=False)  # divisions within each other, this one included

    def __post_init__(self) -> None:
        inner = [atom for d in (self.num, self.den) for mono, _ in _terms(d) for atom in mono]
        object.__setattr__(self, "atoms", 1 + sum(map(_atoms, inner)))
        object.__setattr__(self, "nested", 1 + max((a.nested for a in inner if isinstance(a, FloorDiv)), default=0))
        if self.nested > _MAX_NESTED:
            raise GraphError(f"a size divides sizes that are divided more than {_MAX_NESTED} times; fix the symbolic "
                             f"dimensions that it depends on")

    def __str__(self) -> str:
        return f"{_bracket(self.num)}//{_bracket(self.den)}"


Atom = str | FloorDiv


def _atoms(atom: Atom) -> int:
    return 1 if isinstance(atom, str) else atom.atoms


def _bracket(d: DimLike) -> str:
    text = str(d)
    return text if re.fullmatch(r"\w+", text) else f"({text})"


@record
class Dim:
    """A non-constant integer expression; build it with `symbol` and the operators + - * // %."""

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: DimLike) -> DimLike:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        total = dict(self.terms)
        for mono, coeff in _terms(other):
            total[mono] = total.get(mono, 0) + coeff
        return _normal(total)

    __radd__ = __add__

    def __neg__(self) -> DimLike:
        return self * -1

    def __sub__(self, other: DimLike) -> DimLike:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        return self + other * -1

    def __rsub__(self, other: DimLike) -> DimLike:
        return (self * -1) + other

    def __mul__(self, other: DimLike) -> DimLike:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        if isinstance(other, Dim) and len(self.terms) * len(other.terms) > _MAX_TERMS:
            raise GraphError(f"the product of two dimensions has more than {_MAX_TERMS} terms")
        total: dict[Monomial, int] = {}
        for m1, c1 in self.terms:
            for m2, c2 in _terms(other):
                mono = tuple(sorted(m1 + m2, key=str))
                total[mono] = total.get(mono, 0) + c1 * c2
        return _normal(total)

    __rmul__ = __mul__

    def __floordiv__(self, other: DimLike) -> DimLike:
        return _floor_div(self, other) if isinstance(other, (int, Dim)) else NotImplemented

    def __rfloordiv__(self, other: DimLike) -> DimLike:
        return _floor_div(other, self)

    def __mod__(self, other: DimLike) -> DimLike:
        return self - (self // other) * other

    def __rmod__(self, other: DimLike) -> DimLike:
        return other - (other // self) * self

    def __str__(self) -> str:
        parts = []
        for mono, coeff in self.terms:
            alone = coeff == 1 and len(mono) == 1
            factors = [str(a) if isinstance(a, str) or alone else f"({a})" for a in mono]
            text = "*".join(([] if abs(coeff) == 1 and factors else [str(abs(coeff))]) + factors)
            sign = "-" if coeff < 0 else "+"
            parts.append((sign, text))
        out = ("-" if parts[0][0] == "-" else "") + parts[0][1]
        return out + "".join(f" {sign} {text}" for sign, text in parts[1:])

    __repr__ = __str__


def symbol(name: str) -> Dim:
    """The dimension called `name`; a name is a word of letters, digits and underscores not starting with a digit."""
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise GraphError(f"'{name}' is not a name for a dimension: use letters, digits and underscores")
    return _symbol(name)


def unknown(label: str) -> Dim:
    """What an operator's `infer` puts where only the data decide on a size: a symbol whose name no text can give. The
    graph puts a symbol of its own in place of every dimension that contains one (see `op.name_unknown`)."""
    return _symbol(f"?{label}")


def is_unknown(d: DimLike) -> bool:
    """Whether the dimension contains an `unknown`."""
    return any(name.startswith("?") for name in symbols_of(d))


def _symbol(name: str) -> Dim:
    return Dim((((name,), 1),))


def _terms(d: DimLike) -> tuple[tuple[Monomial, int], ...]:
    return d.terms if isinstance(d, Dim) else (((), int(d)),)


def _normal(total: Mapping[Monomial, int]) -> DimLike:
    kept = {m: c for m, c in total.items() if c}
    if not any(kept):
        return kept.get((), 0)
    if sum(_atoms(atom) for mono in kept for atom in mono) > _MAX_ATOMS or max(map(len, kept)) > _MAX_DEGREE \
            or max(map(abs, kept.values())) >= _MAX_FACTOR:
        raise GraphError(f"a size is an expression of more than {_MAX_ATOMS} parts or {_MAX_DEGREE} factors, or has "
                         "numbers of more than 64 bits; fix the symbolic dimensions that it depends on")
    # Symbols first, the constant last.
    return Dim(tuple(sorted(kept.items(), key=lambda t: (not t[0], [str(a) for a in t[0]]))))


def _floor_div(num: DimLike, den: DimLike) -> DimLike:
    """num // den: what divides exactly leaves the floor, the rest stays as an atom."""
    if isinstance(den, int):
        if den == 0:
            raise GraphError(f"division of the dimension {num} by zero")
        if den < 0:
            return _floor_div(num * -1, -den)
        # (den*q + r) // den == q + r // den for integers.
        whole = {m: c // den for m, c in _terms(num) if c % den == 0}
        rest = {m: c for m, c in _terms(num) if c % den}
        if () in rest:
            whole[()] = rest[()] // den
            rest[()] %= den
        quotient, remainder = _normal(whole), _normal(rest)
        if isinstance(remainder, int):
            return quotient + remainder // den
        return quotient + _division_atom(remainder, den)
    if num == den:
        return 1
    exact = _divide_by_monomial(num, den)
    return exact if exact is not None else _division_atom(num, den)


def _division_atom(num: DimLike, den: DimLike) -> DimLike:
    if isinstance(num, Dim) and isinstance(den, int) and len(num.terms) == 1:
        (mono, coeff), = num.terms
        if coeff == 1 and len(mono) == 1 and isinstance(mono[0], FloorDiv) and isinstance(mono[0].den, int):
            return _floor_div(mono[0].num, mono[0].den * den)  # (a // m) // n == a // (m*n)
    return _normal({(FloorDiv(num, den),): 1})


def _divide_by_monomial(num: DimLike, den: Dim) -> DimLike | None:
    """num / den where den is a single term that divides every term of num, otherwise None."""
    if len(den.terms) != 1:
        return None
    (mono, coeff), = den.terms
    total: dict[Monomial, int] = {}
    for m, c in _terms(num):
        left = list(m)
        for atom in mono:
            if atom not in left:
                return None
            left.remove(atom)
        if c % coeff:
            return None
        total[tuple(left)] = c // coeff
    return _normal(total)


def evaluate_dim(d: DimLike, bindings: Mapping[str, DimLike]) -> DimLike:
    """`d` with the bound symbols replaced; an int once all its symbols are bound to ints."""
    if isinstance(d, int):
        return d
    total: DimLike = 0
    for mono, coeff in d.terms:
        product: DimLike = coeff
        for atom in mono:
            if isinstance(atom, str):
                product = product * (bindings[atom] if atom in bindings else _symbol(atom))
            else:
                product = product * _floor_div(evaluate_dim(atom.num, bindings), evaluate_dim(atom.den, bindings))
        total = total + product
    return total


def solve_dim(d: DimLike, size: int) -> tuple[str, int] | None:
    """The symbol of `d` and the size at which `d` is `size`: where d is a multiple of one symbol plus a number, and
    there is such a size; otherwise None."""
    linear = [(mono, coeff) for mono, coeff in _terms(d) if mono]
    if len(linear) != 1 or len(linear[0][0]) != 1:
        return None
    ((atom,), coeff), = linear
    value, rest = divmod(size - dict(_terms(d)).get((), 0), coeff)
    return (atom, value) if isinstance(atom, str) and not rest and value >= 0 else None


def symbols_of(d: DimLike) -> Iterator[str]:
    """The names of the symbols in `d`, with repetitions."""
    for mono, _ in _terms(d):
        for atom in mono:
            if isinstance(atom, str):
                yield atom
            else:
                yield from symbols_of(atom.num)
                yield from symbols_of(atom.den)


_TOKEN = r"\s*(?:(\d{1,19})|([A-Za-z_]\w*)|(//|[-+*%()]))"
_MAX_DEPTH = 32


def parse_dim(text: str) -> DimLike:
    """The dimension written as `text` (what `str` of one gives); raises GraphError on anything else."""
    if text.isascii() and text.isdigit() and len(text) < 20:
        return int(text)
    tokens: list[str] = []
    pos, token = 0, re.compile(_TOKEN)  # not before there is a symbol: it takes half a millisecond
    while pos < len(text.rstrip()):
        m = token.match(text, pos)
        if m is None:
            raise GraphError(f"'{text}' is not a dimension: use integers, names, + - * // % and brackets")
        tokens.append(m.group().strip())
        pos = m.end()
    tokens.append("")
    value, at = _parse_sum(tokens, 0, 0)
    if tokens[at]:
        raise GraphError(f"'{text}' is not a dimension: unexpected '{tokens[at]}'")
    return value


def _parse_sum(tokens: list[str], at: int, depth: int) -> tuple[DimLike, int]:
    value, at = _parse_product(tokens, at, depth)
    while tokens[at] in ("+", "-"):
        op = tokens[at]
        right, at = _parse_product(tokens, at + 1, depth)
        value = value + right if op == "+" else value - right
    return value, at


def _parse_product(tokens: list[str], at: int, depth: int) -> tuple[DimLike, int]:
    value, at = _parse_factor(tokens, at, depth)
    while tokens[at] in ("*", "//", "%"):
        op = tokens[at]
        right, at = _parse_factor(tokens, at + 1, depth)
        if op != "*" and right == 0:
            raise GraphError("division of a dimension by zero")
        quotient = value // right if op != "*" else 0
        value = value * right if op == "*" else quotient if op == "//" else value - quotient * right
    return value, at


def _parse_factor(tokens: list[str], at: int, depth: int) -> tuple[DimLike, int]:
    if depth > _MAX_DEPTH:
        raise GraphError(f"a dimension is nested deeper than {_MAX_DEPTH} levels")
    token = tokens[at]
    if token == "-":
        value, at = _parse_factor(tokens, at + 1, depth + 1)
        return value * -1, at
    if token == "(":
        value, at = _parse_sum(tokens, at + 1, depth + 1)
        if tokens[at] != ")":
            raise GraphError("a dimension lacks a closing bracket")
        return value, at + 1
    if token.isdigit():
        return int(token), at + 1
    if re.fullmatch(r"[A-Za-z_]\w*", token):
        return symbol(token), at + 1
    raise GraphError(f"a dimension has '{token or 'an end'}' where a number or a name was expected")
