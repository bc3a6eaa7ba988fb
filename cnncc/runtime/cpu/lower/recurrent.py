"""RNN, GRU and LSTM whose input's products are computed already (see the pass project_recurrent_inputs)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import PlanInvalid
from ....ir import DType, TensorType
from ....ops.recurrent import GRU, LSTM, Recurrent
from ..kernel import Launch
from ..kernels import recurrence
from ..kernels.recurrence import Packing, Walk
from ..lowering import PLAIN, Choice, Lowering, Refusal, Tensor
from .layouts import expect_layouts

__all__ = ["LOWERINGS", "RecurrentLowering"]

Array = np.ndarray[Any, Any]
Inputs = Sequence[Tensor | None]


class RecurrentLowering(Lowering):
    input_words = ("x", None, "r", "b", "lens", "h0", "c0", "p")
    output_words = ("y", "yh", "yc")
    parameters = ("vectors",)

    def choose(self, op: Any, inputs: Inputs, outputs: Sequence[TensorType], lanes: int) -> Choice | Refusal:
        if outputs[0].dtype is not DType.F32:
            return Refusal(f"{op.op_type} is native for f32 only")
        if not op.projected:
            return Refusal(f"{op.op_type} is native where W is a constant, from -O1 on")
        if any(t is not None and not t.constant for i, t in enumerate(inputs) if i in (2, 3, 7)):
            return Refusal(f"{op.op_type} is native where R, B and P are constants")
        names = [[f.name for f in functions] for functions in op.gate_functions()]
        if any(each != names[0] for each in names):
            return Refusal(f"{op.op_type} is native where both directions have the same activations")
        x = inputs[0]
        assert x is not None
        batch = op.swapped(x.type.shape)[1]
        vectors = recurrence.choose_vectors(batch if isinstance(batch, int) else recurrence.PART, lanes)
        return Choice(recurrence.KERNEL.name, {"vectors": vectors}, (PLAIN,) * len(inputs), (PLAIN,) * len(outputs))

    def walk(self, op: Recurrent, inputs: Inputs) -> Walk:
        x, r = inputs[0], inputs[2]
        assert x is not None and r is not None
        steps, batch, _ = op.swapped(x.shape)
        kind = "lstm" if isinstance(op, LSTM) else "rnn" if not isinstance(op, GRU) else \
            "gru_linear" if op.linear_before_reset else "gru"
        backwards = sum(1 << d for d in range(op.directions) if op.is_reversed(d))
        return Walk(kind, steps, batch, r.shape[2], op.directions, backwards, op.layout == 1)

    def packing(self, choice: Choice, lanes: int) -> Packing:
        vectors = choice.params.get("vectors")
        if not isinstance(vectors, int) or vectors not in recurrence.TILES[lanes]:
            raise PlanInvalid(f"recurrence has no panels of {vectors!r} vectors")
        return Packing(lanes, vectors)

    def launch(self, op: Any, choice: Choice, inputs: Inputs, outputs: Sequence[Tensor], lanes: int) -> Launch:
        again = self.choose(op, inputs, [t.type for t in outputs], lanes)
        if isinstance(again, Refusal):
            raise PlanInvalid(again.reason)
        expect_layouts(op, [*inputs, *outputs], [PLAIN] * (len(inputs) + len(outputs)))
        functions = [[(f.name, *_words(f.name, f.alpha, f.beta)) for f in each] for each in op.gate_functions()]
        given = [word for word, t in zip(self.input_words, inputs, strict=False) if word in ("lens", "h0", "c0", "p")
                 and t is not None]
        given += self.output_words[1:len(outputs)]
        clip = math.inf if op.clip is None else op.clip
        return recurrence.launch(self.walk(op, inputs), self.packing(choice, lanes), functions, clip, "p" in given,
                                 bool(getattr(op, "input_forget", False)), given)

    def pack(self, op: Any, choice: Choice, inputs: Inputs, index: int, lanes: int) -> Array:
        plain, walk = super().pack(op, choice, inputs, index, lanes), self.walk(op, inputs)
        packing = self.packing(choice, lanes)
        if index == 2:
            return recurrence.pack_weights(plain, walk, packing)
        if index == 3:
            return recurrence.pack_biases(plain, walk, packing)
        return recurrence.pack_peepholes(plain, walk, packing) if index == 7 else np.ascontiguousarray(plain)

    def extra(self, op: Any, choice: Choice, inputs: Inputs, lanes: int) -> dict[str, Array]:
        if len(inputs) > 3 and inputs[3] is not None:
            return {}
        return {"b": recurrence.pack_biases(None, self.walk(op, inputs), self.packing(choice, lanes))}


def _words(name: str, alpha: float, beta: float) -> tuple[float, float]:
    return (0.0, math.inf) if name == "relu" else (alpha, beta)


LOWERINGS: dict[str, Lowering] = {name: RecurrentLowering() for name in ("RNN", "GRU", "LSTM")}
