"""Einsum."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, Op, Operand, TensorType
from ..records import record
from .dtypes import NUMERIC, common_dtype
from .sizes import agree, shape_text

__all__ = ["Einsum"]

Array = np.ndarray[Any, Any]


@record
class Einsum(Op):
    """ONNX Einsum-28: the sum of products that `equation` writes as NumPy's einsum does: `bij,bjk->bik`.

    Without `->` the output has, in alphabetical order, the letters that occur once. `...` stands for further axes,
    which broadcast; in the output they come first unless it places them.
    """

    since = 28
    operands = ("Inputs*",)
    results = ("Output",)

    equation: str

    def check(self) -> None:
        if not re.fullmatch(r"[A-Za-z.,]*(->[A-Za-z.]*)?", self._text) or \
                any("." in t.replace("...", "", 1) for t in re.split(",|->", self._text)):
            raise OpError(f"Einsum: '{self.equation}' is not an equation such as 'bij,bjk->bik'")

    @property
    def _text(self) -> str:
        return self.equation.replace(" ", "")

    def terms(self) -> tuple[list[str], str]:
        """The letters of each input and of the output, `...` as a dot."""
        inputs, arrow, output = self._text.replace("...", ".").partition("->")
        if not arrow:
            joined = inputs.replace(",", "")
            once = sorted(c for c in set(joined) if c != "." and joined.count(c) == 1)
            output = "." * ("." in joined) + "".join(once)
        return inputs.split(","), output

    def infer(self, *operands: Operand) -> tuple[TensorType, ...]:
        dtype = common_dtype("Einsum", operands, NUMERIC)
        inputs, output = self.terms()
        if len(inputs) != len(operands):
            raise OpError(f"Einsum: '{self.equation}' is about {len(inputs)} inputs, but there are {len(operands)}")
        sizes: dict[str, list[DimLike]] = {}
        more: list[tuple[DimLike, ...]] = []
        for term, operand in zip(inputs, operands, strict=True):
            shape, letters = operand.type.shape, len(term.replace(".", ""))
            if len(shape) < letters or ("." not in term and len(shape) != letters):
                raise OpError(f"Einsum: '{term.replace('.', '...')}' of '{self.equation}' does not fit {operand.type}")
            split = term.find(".") if "." in term else letters
            extra = len(shape) - letters
            more.append(shape[split:split + extra])
            for letter, size in zip(term.replace(".", ""), shape[:split] + shape[split + extra:], strict=True):
                sizes.setdefault(letter, []).append(size)
        if len(set(output)) != len(output) or ("." not in output and any(more)):
            raise OpError(f"Einsum: the output of '{self.equation}' names an axis twice, or has no place for the axes "
                          "of '...'")
        shape = ()
        for letter in output:
            if letter != "." and letter not in sizes:
                raise OpError(f"Einsum: no input of '{self.equation}' has the letter '{letter}' of the output")
            shape += self._broadcast(more) if letter == "." else (self._size(letter, sizes[letter]),)
        for letter, found in sizes.items():
            self._size(letter, found)
        return (TensorType(dtype, shape),)

    def _size(self, letter: str, sizes: list[DimLike]) -> DimLike:
        size = agree([d for d in sizes if d != 1] or [1])
        if size is None:
            raise OpError(f"Einsum: the letter '{letter}' of '{self.equation}' stands for axes of sizes "
                          f"{shape_text(sizes)}")
        return size

    def _broadcast(self, shapes: list[tuple[DimLike, ...]]) -> tuple[DimLike, ...]:
        rank = max(map(len, shapes))
        padded = [(1,) * (rank - len(s)) + s for s in shapes]
        return tuple(self._size("...", list(column)) for column in zip(*padded, strict=True))

    def reference(self, *arrays: Array) -> tuple[Array, ...]:
        inputs, output = self.terms()
        equation = f"{','.join(inputs)}->{output}".replace(".", "...")
        return (np.asarray(np.einsum(equation, *arrays, optimize=len(arrays) > 2), arrays[0].dtype),)
