"""The words of cnncc's language as functions: `from cnncc import layers as L`.

    net = L.Network("lenet5")
    x = net.input("image", "f32[N,1,32,32]")
    x = L.conv(x, 6, "5x5", label="conv1")
    x = L.avgpool(L.tanh(x), "2x2")
    net.output(x, "logits")

Every word that docs/language.md names is a function here: `L.conv(x, 64, "3x3", "same", stride=2)`, `L.concat(a, b)`,
`L.ReduceMean(x, axes=[2, 3], keepdims=False)`. Inputs come first, then the arguments, then keywords; `label` names the
layer. The functions build what the text builds, by the same code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .frontends.dsl.builder import Builder
from .frontends.dsl.layers import all_words, find_word
from .frontends.dsl.source import did_you_mean
from .frontends.dsl.weights import Given, Initial, Seeded, load_weights
from .frontends.dsl.words import apply_word, bind
from .ir import DType, Graph, TensorType, Value, parse_type

__all__ = ["Network", "Tensor"]


class Tensor:
    """A value of a network that is being built; + - * / with tensors and numbers add layers."""

    def __init__(self, network: Network, value: Value) -> None:
        self.network, self.value = network, value

    @property
    def type(self) -> TensorType:
        return self.value.type

    def _with(self, operator: str, left: Any, right: Any) -> Tensor:
        return Tensor(self.network, self.network._builder.arithmetic(operator, _plain(left), _plain(right)))

    def __add__(self, other: Tensor | float) -> Tensor:
        return self._with("+", self, other)

    def __radd__(self, other: float) -> Tensor:
        return self._with("+", other, self)

    def __sub__(self, other: Tensor | float) -> Tensor:
        return self._with("-", self, other)

    def __rsub__(self, other: float) -> Tensor:
        return self._with("-", other, self)

    def __mul__(self, other: Tensor | float) -> Tensor:
        return self._with("*", self, other)

    def __rmul__(self, other: float) -> Tensor:
        return self._with("*", other, self)

    def __truediv__(self, other: Tensor | float) -> Tensor:
        return self._with("/", self, other)

    def __rtruediv__(self, other: float) -> Tensor:
        return self._with("/", other, self)

    def __neg__(self) -> Tensor:
        return Tensor(self.network, self.network._builder.negative(self.value))

    def __repr__(self) -> str:
        return repr(self.value)


class Network:
    """A network that is built layer by layer; `graph` gives it.

    Args:
        name: the network's name.
        weights: a .safetensors or .npz file, or arrays by name; otherwise they are drawn by `seed`.
    """

    def __init__(self, name: str = "net", *, weights: str | Path | Mapping[str, Any] | None = None,
                 seed: int = 0) -> None:
        self._given: Given | None = None
        if weights is not None:
            arrays = weights if isinstance(weights, Mapping) else load_weights(weights)
            self._given = Given({n: np.asarray(a) for n, a in arrays.items()})
        self._builder = Builder(name, self._given or Seeded(seed))

    def input(self, name: str, type_: str | TensorType) -> Tensor:
        """An input, of a type such as "f32[N,3,224,224]"."""
        return Tensor(self, self._builder.input(name, parse_type(type_) if isinstance(type_, str) else type_))

    def weight(self, name: str, type_: str | TensorType, fill: float | None = None) -> Tensor:
        """A weight of its own, named in the present scope; `fill` is what it holds where it is not given."""
        found = parse_type(type_) if isinstance(type_, str) else type_
        initial = None if fill is None else Initial("fill", fill)
        return Tensor(self, self._builder.weight(self._builder.within(name), found, initial))

    def constant(self, content: Any, dtype: str = "f32") -> Tensor:
        return Tensor(self, self._builder.constant(content, DType(dtype), self._builder.within("constant")))

    def scope(self, label: str | None = None) -> AbstractContextManager[None]:
        """Names the layers inside after `label`, or after the next number."""
        return self._builder.scope(label)

    def output(self, x: Tensor, name: str = "output") -> None:
        self._builder.output(x.value, name)

    @property
    def graph(self) -> Graph:
        """The graph. Raises ModelError where the weights given do not fit it."""
        if not self._builder.graph.outputs:
            raise InputError(f"the network '{self._builder.graph.name}' has no output; name one with output(x)")
        if self._given is not None:
            self._given.check()
        return self._builder.graph


def _plain(argument: Any) -> Any:
    """An argument as the text would give it."""
    if isinstance(argument, str) and re.fullmatch(r"\d+(x\d+)+", argument):
        return [int(size) for size in argument.split("x")]
    return argument.value if isinstance(argument, Tensor) else argument


def _function(name: str) -> Callable[..., Any]:
    word = find_word(name)
    assert word is not None

    def layer(*arguments: Any, label: str | None = None, outputs: int = 1, **keywords: Any) -> Any:
        count = next((i for i, a in enumerate(arguments) if a is not None and not isinstance(a, Tensor)),
                     len(arguments))
        inputs, rest = arguments[:count], arguments[count:]
        first = next((a for a in inputs if a is not None), None)
        if first is None:
            raise InputError(f"{name} has no input: its first argument is a tensor")
        builder = first.network._builder
        bound = bind(name, word, [_plain(a) for a in rest], {n: _plain(a) for n, a in keywords.items()})
        values = apply_word(builder, name, word, [None if a is None else a.value for a in inputs], bound,
                            builder.path(label), outputs)
        made = tuple(Tensor(first.network, v) for v in values)
        return made if outputs > 1 else made[0]

    layer.__name__ = layer.__qualname__ = name
    layer.__doc__ = f"The layer `{name}` of docs/language.md: ONNX's {word.op}."
    return layer


def __getattr__(name: str) -> Callable[..., Any]:
    if name.startswith("__") or find_word(name) is None:
        raise AttributeError(f"cnncc.layers has no layer '{name}'{did_you_mean(name, all_words())}")
    function = globals()[name] = _function(name)
    return function


def __dir__() -> list[str]:
    return sorted({*__all__, *all_words()})
