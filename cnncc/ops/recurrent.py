"""Recurrent networks: RNN, GRU and LSTM.

All three walk along sequences X [T, N, input] (with layout 1: [N, T, input]), forwards, backwards or both ways (D
directions). W [D, G H, input] and R [D, G H, H] hold the weights of G gates of H units, B [D, 2 G H] their biases,
those of W first. `sequence_lens` [N] says how many steps each sequence has: what lies beyond is not read, and its
outputs are 0; a backward walk begins at a sequence's own end. One without a step gives 0, whatever it starts from.
Lengths count as 0 or T where they are less or more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ..errors import OpError
from ..ir import Activation, DimLike, DType, Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, check_dtype, common_dtype
from .sizes import agree, shape_text

__all__ = ["GRU", "LSTM", "RECURRENT", "RNN", "DynamicQuantizeLSTM", "GateFunction", "Recurrent"]

Array = np.ndarray[Any, Any]


def _affine(x: Array, alpha: float, beta: float) -> Array:
    return alpha * x + beta


def _scaled_tanh(x: Array, alpha: float, beta: float) -> Array:
    return alpha * np.tanh(beta * x)


def _thresholded(x: Array, alpha: float, beta: float) -> Array:
    return np.where(x < alpha, 0, x)


def _softsign(x: Array, alpha: float, beta: float) -> Array:
    return x / (1 + abs(x))


def _shared(kind: str, parameters: int) -> Callable[..., Array]:
    return lambda x, *given: Activation(kind, given[:parameters]).apply(x)


# Name in lower case -> the defaults of alpha and beta (as many as it has; None: it must be given), and the function.
GATE_FUNCTIONS: dict[str, tuple[tuple[float | None, ...], Callable[..., Array]]] = {
    "affine": ((None, None), _affine),
    "elu": ((1.0,), _shared("elu", 1)),
    "hardsigmoid": ((0.2, 0.5), _shared("hard_sigmoid", 2)),
    "leakyrelu": ((0.01,), _shared("leaky_relu", 1)),
    "relu": ((), _shared("relu", 0)),
    "scaledtanh": ((None, None), _scaled_tanh),
    "sigmoid": ((), _shared("sigmoid", 0)),
    "softplus": ((), _shared("softplus", 0)),
    "softsign": ((), _softsign),
    "tanh": ((), _shared("tanh", 0)),
    "thresholdedrelu": ((1.0,), _thresholded),
}


@record
class GateFunction:
    """A row of GATE_FUNCTIONS with its parameters."""

    name: str
    alpha: float
    beta: float

    def apply(self, x: Array) -> Array:
        return np.asarray(GATE_FUNCTIONS[self.name][1](x, self.alpha, self.beta)).astype(x.dtype, copy=False)


@record
class Recurrent(Op):
    """What RNN, GRU and LSTM share.

    `activations` names the functions of each direction in turn (case does not matter); `activation_alpha` and
    `activation_beta` are handed out in order to those that have such a parameter. `clip` bounds what goes into the
    gates' functions (not into an LSTM's h). Beyond ONNX: with `projected`, X is already the products of the input and
    W, [T, N, D G H] (with layout 1 [N, T, D G H]), and W is absent.
    """

    gates: ClassVar[int]
    functions: ClassVar[tuple[str, ...]]  # the defaults of one direction
    states: ClassVar[int] = 1

    since = 22
    operands: ClassVar[tuple[str, ...]] = ("X", "W?", "R", "B?", "sequence_lens?", "initial_h?")
    results: ClassVar[tuple[str, ...]] = ("Y", "Y_h?")

    direction: str = "forward"
    hidden_size: int | None = None
    activations: tuple[str, ...] = ()
    activation_alpha: tuple[float, ...] = ()
    activation_beta: tuple[float, ...] = ()
    clip: float | None = None
    layout: int = 0
    projected: bool = False

    def check(self) -> None:
        name = self.op_type
        if self.direction not in ("forward", "reverse", "bidirectional"):
            raise OpError(f"{name}: direction is '{self.direction}', but must be forward, reverse or bidirectional")
        if self.layout not in (0, 1):
            raise OpError(f"{name}: layout is {self.layout}, but must be 0 or 1")
        if self.clip is not None and not self.clip >= 0:
            raise OpError(f"{name}: clip is {self.clip}, but must not be negative")
        self.gate_functions()

    @property
    def directions(self) -> int:
        return 2 if self.direction == "bidirectional" else 1

    def is_reversed(self, direction: int) -> bool:
        return direction == 1 or self.direction == "reverse"

    def gate_functions(self) -> tuple[tuple[GateFunction, ...], ...]:
        """The functions of each direction."""
        each = len(self.functions)
        names = self.activations or self.functions * self.directions
        if len(names) < each * self.directions:
            raise OpError(f"{self.op_type}: {len(names)} activations are given, but {self.directions} direction(s) "
                          f"need {each * self.directions}")
        alphas, betas = list(self.activation_alpha), list(self.activation_beta)
        found = []
        for name in names[:each * self.directions]:
            row = GATE_FUNCTIONS.get(name.lower())
            if row is None:
                raise OpError(f"{self.op_type}: '{name}' is not an activation; there are {', '.join(GATE_FUNCTIONS)}")
            values: list[float | None] = [given.pop(0) if given else default
                                          for given, default in zip((alphas, betas), row[0], strict=False)]
            if None in values:
                raise OpError(f"{self.op_type}: the activation {name} needs activation_alpha and activation_beta")
            alpha, beta = (*values, 0.0, 0.0)[:2]
            found.append(GateFunction(name.lower(), float(alpha or 0.0), float(beta or 0.0)))
        return tuple(tuple(found[at:at + each]) for at in range(0, len(found), each))

    def swapped(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        """A shape with time and batch (or direction and batch) as layout 0 has them."""
        return (shape[1], shape[0], *shape[2:]) if self.layout else tuple(shape)

    # -- types -----------------------------------------------------------------------------------------------------

    def infer(self, x: Operand, w: Operand | None, r: Operand, b: Operand | None = None, lens: Operand | None = None,
              *rest: Operand | None) -> tuple[TensorType, ...]:
        name, d, g = self.op_type, self.directions, self.gates
        if (w is None) is not self.projected:
            raise OpError(f"{name} lacks its input W" if w is None else f"{name}: with projected there is no input W")
        floats = [o for o in (x, w, r, b, *rest) if o is not None]
        dtype = common_dtype(name, floats, FLOATS)
        if lens is not None:
            check_dtype(name, "sequence_lens", lens, (DType.I32,))
        if x.type.rank != 3 or r.type.rank != 3:
            raise OpError(f"{name}: X and R must have 3 axes, not {x.type} and {r.type}")
        steps, batch, width = self.swapped(x.type.shape)
        hidden = r.type.shape[2]
        if self.hidden_size is not None and agree((hidden, self.hidden_size)) is None:
            raise OpError(f"{name}: R is {r.type}, but hidden_size is {self.hidden_size}")
        self._expect("R", r, (d, g * hidden, hidden))
        self._expect("W", w, (d, g * hidden, width))
        self._expect("B", b, (d, 2 * g * hidden))
        self._expect("sequence_lens", lens, (batch,))
        state = self.swapped((d, batch, hidden))
        for what, operand in zip(("initial_h", "initial_c"), rest, strict=False):
            self._expect(what, operand, state)
        if len(rest) > 2:
            self._expect("P", rest[2], (d, 3 * hidden))
        if self.projected and agree((width, d * g * hidden)) is None:
            raise OpError(f"{name}: X is {x.type}, but projected it must have {d * g * hidden} columns")
        y = (batch, steps, d, hidden) if self.layout else (steps, d, batch, hidden)
        return (TensorType(dtype, y), *(TensorType(dtype, state),) * self.states)

    def _expect(self, what: str, operand: Operand | None, shape: tuple[DimLike, ...]) -> None:
        if operand is not None and (operand.type.rank != len(shape) or any(
                agree(pair) is None for pair in zip(operand.type.shape, shape, strict=True))):
            raise OpError(f"{self.op_type}: {what} is {operand.type}, but must have the shape {shape_text(shape)}")

    # -- numbers ---------------------------------------------------------------------------------------------------

    def reference(self, x: Array, w: Array | None, r: Array, b: Array | None = None, lens: Array | None = None,
                  *rest: Array | None) -> tuple[Array, ...]:
        x = x.swapaxes(0, 1) if self.layout else x
        (steps, batch), d, hidden = x.shape[:2], self.directions, r.shape[2]
        lengths = np.full(batch, steps) if lens is None else np.clip(lens, 0, steps)
        x = x[:lengths.max(initial=0)]
        y = np.zeros((steps, d, batch, hidden), x.dtype)
        finals = [np.zeros((d, batch, hidden), x.dtype) for _ in range(self.states)]
        biases = np.zeros((d, 2, self.gates * hidden), x.dtype) if b is None else b.reshape(d, 2, -1)
        initial = [*rest[:self.states], None, None][:self.states]
        peepholes = rest[2] if len(rest) > 2 else None
        for k, functions in enumerate(self.gate_functions()):
            products = self.input_products(x, w, k)
            weights = (biases[k, 0], biases[k, 1], None if peepholes is None else peepholes[k].reshape(3, hidden))
            state = [np.zeros((batch, hidden), x.dtype) if s is None else s[:, k] if self.layout else s[k]
                     for s in initial]
            multiply = partial(self.state_products, r=r, direction=k)
            for t in range(len(x)):
                going = t < lengths
                when = np.where(going, lengths - 1 - t if self.is_reversed(k) else t, 0)
                state = self.step(functions, products[when, np.arange(batch)], multiply, weights, state)
                state = [np.where(going[:, None], s, x.dtype.type(0)) for s in state]
                y[when[going], k, going] = state[0][going]
                for final, s in zip(finals, state, strict=True):
                    final[k, lengths == t + 1] = s[lengths == t + 1]
        if self.layout:
            return (y.transpose(2, 0, 1, 3), *(s.swapaxes(0, 1) for s in finals))
        return (y, *finals)

    def input_products(self, x: Array, w: Array | None, direction: int) -> Array:
        """The input's share of what goes into the gates: [T, N, G H]."""
        if w is None:
            width = x.shape[2] // self.directions
            return x[:, :, direction * width:(direction + 1) * width]
        return np.asarray(x @ w[direction].T)

    def state_products(self, h: Array, r: Array, direction: int) -> Array:
        """h's share, [N, G H]."""
        return np.asarray(h @ r[direction].T)

    def bounded(self, x: Array) -> Array:
        return x if self.clip is None else np.clip(x, x.dtype.type(-self.clip), x.dtype.type(self.clip))

    def step(self, functions: tuple[GateFunction, ...], x: Array, multiply: Callable[[Array], Array],
             weights: tuple[Array, Array, Array | None], state: list[Array]) -> list[Array]:
        """The state after one step of all sequences. `x` [N, G H] are the input's products, `multiply` gives those of
        an h [N, H], `weights` are the biases of W and R and the peepholes."""
        raise NotImplementedError  # abstract


@record
class RNN(Recurrent):
    """ONNX RNN-22: H' = f(X Wi' + H Ri' + Wbi + Rbi)."""

    gates = 1
    functions = ("Tanh",)

    def step(self, functions: tuple[GateFunction, ...], x: Array, multiply: Callable[[Array], Array],
             weights: tuple[Array, Array, Array | None], state: list[Array]) -> list[Array]:
        [h], (wb, rb, _) = state, weights
        return [functions[0].apply(self.bounded(x + multiply(h) + wb + rb))]


@record
class GRU(Recurrent):
    """ONNX GRU-22, gates in the order z, r, h:

        z = f(X Wz' + H Rz' + Wbz + Rbz)
        r = f(X Wr' + H Rr' + Wbr + Rbr)
        h = g(X Wh' + (r * H) Rh' + Rbh + Wbh)          with linear_before_reset: g(X Wh' + r * (H Rh' + Rbh) + Wbh)
        H' = (1 - z) * h + z * H
    """

    gates = 3
    functions = ("Sigmoid", "Tanh")

    linear_before_reset: bool = False

    def step(self, functions: tuple[GateFunction, ...], x: Array, multiply: Callable[[Array], Array],
             weights: tuple[Array, Array, Array | None], state: list[Array]) -> list[Array]:
        [h], (f, g) = state, functions
        wbz, wbr, wbh = np.split(weights[0], 3)
        rbz, rbr, rbh = np.split(weights[1], 3)
        xz, xr, xh = np.split(x, 3, -1)
        hz, hr, hh = np.split(multiply(h), 3, -1)
        z, r = f.apply(self.bounded(xz + hz + wbz + rbz)), f.apply(self.bounded(xr + hr + wbr + rbr))
        inner = r * (hh + rbh) if self.linear_before_reset else np.split(multiply(r * h), 3, -1)[2] + rbh
        return [(1 - z) * g.apply(self.bounded(xh + inner + wbh)) + z * h]


@record
class LSTM(Recurrent):
    """ONNX LSTM-22, gates in the order i, o, f, c, peepholes P in the order i, o, f:

        i = f(X Wi' + H Ri' + Pi * C + Wbi + Rbi)
        f = f(X Wf' + H Rf' + Pf * C + Wbf + Rbf)       with input_forget: 1 - i
        c = g(X Wc' + H Rc' + Wbc + Rbc)
        C' = f * C + i * c
        o = f(X Wo' + H Ro' + Po * C' + Wbo + Rbo)
        H' = o * h(C')
    """

    operands = (*Recurrent.operands, "initial_c?", "P?")
    results = (*Recurrent.results, "Y_c?")
    gates = 4
    functions = ("Sigmoid", "Tanh", "Tanh")
    states = 2

    input_forget: bool = False

    def step(self, functions: tuple[GateFunction, ...], x: Array, multiply: Callable[[Array], Array],
             weights: tuple[Array, Array, Array | None], state: list[Array]) -> list[Array]:
        (h, c), (f, g, last), (wb, rb, peepholes) = state, functions, weights
        pi, po, pf = np.zeros((3, h.shape[1]), x.dtype) if peepholes is None else peepholes
        i, o, forget, cell = np.split(x + multiply(h) + wb + rb, 4, -1)
        i = f.apply(self.bounded(i + pi * c))
        forget = 1 - i if self.input_forget else f.apply(self.bounded(forget + pf * c))
        c = forget * c + i * g.apply(self.bounded(cell))
        return [f.apply(self.bounded(o + po * c)) * last.apply(c), c]


@record
class DynamicQuantizeLSTM(LSTM):
    """com.microsoft DynamicQuantizeLSTM-1: an LSTM with 8-bit weights W [D, input, 4 H] and R [D, H, 4 H].

    X (all steps up to the longest sequence's end) and, at every step, H (of all sequences) are quantised to u8 over
    the range of what they hold and 0, then multiplied as integers. Scales and zero points are [D] or, one a column,
    [D, 4 H]; a column's zero points must be equal.
    """

    domain = "com.microsoft"
    since = 1
    operands = (*LSTM.operands, "W_scale", "W_zero_point", "R_scale", "R_zero_point")

    def infer(self, x: Operand, w: Operand | None, r: Operand, b: Operand | None = None, lens: Operand | None = None,
              *rest: Operand | None) -> tuple[TensorType, ...]:
        name = self.op_type
        if w is None or w.type.rank != 3 or r.type.rank != 3 or len(rest) != 7 or any(o is None for o in rest[3:]):
            raise OpError(f"{name} needs W and R of 3 axes, and their scales and zero points")
        if self.layout or self.projected:
            raise OpError(f"{name}: there is layout 0 only, and no projected form")
        for what, o, accepted in (("W", w, EIGHT_BITS), ("W_zero_point", rest[4], (w.type.dtype,)),
                                  ("R", r, EIGHT_BITS), ("R_zero_point", rest[6], (r.type.dtype,))):
            assert o is not None
            check_dtype(name, what, o, accepted)
        for what, o in zip(("W_scale", "W_zero_point", "R_scale", "R_zero_point"), rest[3:], strict=True):
            assert o is not None
            full: tuple[DimLike, ...] = (self.directions, r.type.shape[2])
            self._expect(what, o, full if o.type.rank == 2 else full[:1])
        turned = [Operand(TensorType(x.type.dtype, (d, m, k))) for d, k, m in (w.type.shape, r.type.shape)]
        return super().infer(x, *turned, b, lens, *rest[:3])

    def reference(self, x: Array, w: Array | None, r: Array, b: Array | None = None, lens: Array | None = None,
                  *rest: Array | None) -> tuple[Array, ...]:
        assert w is not None
        wide: list[Any] = [_Weights(w, *rest[3:5]), _Weights(r, *rest[5:7])]
        return super().reference(x, wide[0], wide[1], b, lens, *rest[:3])

    def input_products(self, x: Array, w: Any, direction: int) -> Array:
        return np.asarray(w.products(x, direction))

    def state_products(self, h: Array, r: Any, direction: int) -> Array:
        return np.asarray(r.products(h, direction))


EIGHT_BITS = (DType.U8, DType.I8)


class _Weights:
    """Quantised weights [D, K, M] of one operand."""

    def __init__(self, numbers: Array, scale: Any, zero: Any) -> None:
        self.numbers, self.scale, self.zero = numbers.astype(np.int64), scale, zero
        self.shape = (numbers.shape[0], numbers.shape[2], numbers.shape[1])  # as the plain operand has it

    def products(self, x: Array, direction: int) -> Array:
        low, high = min(float(x.min(initial=0)), 0.0), max(float(x.max(initial=0)), 0.0)
        number = x.dtype.type
        step = number((number(high) - number(low)) / number(255)) or number(1)
        zero = np.rint(np.clip(-number(low) / step, 0, 255))
        quantised = np.clip(np.rint(x / step) + zero, 0, 255).astype(np.int64) - int(zero)
        sums = quantised @ (self.numbers[direction] - np.asarray(self.zero[direction]).astype(np.int64))
        return np.asarray(sums.astype(x.dtype) * (step * self.scale[direction].astype(x.dtype)))

RECURRENT = (RNN, GRU, LSTM, DynamicQuantizeLSTM)
