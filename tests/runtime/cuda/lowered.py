"""Runs one operator on its CUDA kernels in the simulator, as a plan would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnncc.ir import DType, Op, Operand, TensorType
from cnncc.runtime.cuda.kernel import Launch
from cnncc.runtime.cuda.lower.table import LOWERINGS
from cnncc.runtime.cuda.lowering import LANES, PLAIN, Refusal, Tensor
from tests.runtime.cuda.harness import ORDERS, run

__all__ = ["launch_of", "run_lowered"]

Array = np.ndarray[Any, Any]


def _tensors(op: Op, arrays: Sequence[Array | None], constants: Sequence[int]) -> list[Tensor | None]:
    return [None if a is None else Tensor(TensorType(DType.of(a.dtype), a.shape), PLAIN, a if i in constants else None,
                                          i in constants) for i, a in enumerate(arrays)]


def launch_of(op: Op, arrays: Sequence[Array | None], constants: Sequence[int] = (), outputs: int = 1,
              inplace: bool = False) -> tuple[Launch, dict[str, Array], list[str | None]] | Refusal:
    """The launch, its operands by word (those that are written full of NaN), and the words of the outputs; or why
    there is none. With `inplace` output 0 lies over an input that may lend its memory, if there is one."""
    inputs = _tensors(op, arrays, constants)
    types = op.infer(*(None if t is None else Operand(t.type, t.value) for t in inputs))[:outputs]
    lowering = LOWERINGS[op.op_type]
    choice = lowering.choose(op, inputs, types, LANES)
    if isinstance(choice, Refusal):
        return choice
    results = [Tensor(t, PLAIN) for t in types]
    launch = lowering.launch(op, choice, inputs, results, LANES)
    assert launch.name == choice.kernel
    words, output_words = lowering.words(inputs), lowering.output_words[:outputs]
    operands = dict(lowering.extra(op, choice, inputs, LANES))
    for i, (word, tensor) in enumerate(zip(words, inputs, strict=False)):
        if word is not None and tensor is not None:
            packed = lowering.pack(op, choice, inputs, i, LANES) if tensor.constant else arrays[i]
            operands[word] = np.array(packed, order="C")
    for word, tensor in zip(output_words, results, strict=True):
        assert word is not None
        operands[word] = np.zeros(tensor.shape, tensor.type.dtype.numpy)
    lent = lowering.inplace(inputs, results)
    if inplace and lent and output_words[0] is not None:
        word = words[lent[-1]]
        assert word is not None
        operands[output_words[0]] = operands[word]
    return launch, operands, list(output_words)


def run_lowered(op: Op, arrays: Sequence[Array | None], constants: Sequence[int] = (), outputs: int = 1,
                inplace: bool = False, orders: Sequence[tuple[int | None, bool]] = ORDERS) -> list[Array] | Refusal:
    """The operator's outputs; or why it has no kernel."""
    prepared = launch_of(op, arrays, constants, outputs, inplace)
    if isinstance(prepared, Refusal):
        return prepared
    launch, operands, words = prepared
    shapes = [operands[word].shape for word in words if word is not None]
    found = run(launch, operands, orders)
    types = op.infer(*(None if t is None else Operand(t.type, t.value) for t in _tensors(op, arrays, constants)))
    return [found[word].view(t.dtype.numpy).reshape(shape)
            for word, shape, t in zip(words, shapes, types, strict=False) if word is not None]
