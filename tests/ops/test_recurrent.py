"""RNN, GRU, LSTM and DynamicQuantizeLSTM against onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from cnncc.ir import DType, Op
from cnncc.ops.recurrent import GATE_FUNCTIONS, GRU, LSTM, RECURRENT, RNN, DynamicQuantizeLSTM, Recurrent

from .cases import Array, Case, assert_refused, assert_same, check, check_half, inferred, normal, trials

PLAIN = {"onnx": "its evaluator knows neither lengths, nor clip, nor other activations"}
NO_LAYOUT = {"onnxruntime": "it has no layout 1"}


def lengths(*values: int) -> Array:
    return np.array(values, np.int32)


def case(op: Recurrent, steps: int = 4, batch: int = 3, width: int = 3, hidden: int = 5, *, bias: bool = True,
         lens: Array | None = None, initial: bool = False, peepholes: bool = False, **more: Any) -> Case:
    """The operator on standard normal numbers."""
    d, g = op.directions, op.gates
    x = (batch, steps, width) if op.layout else (steps, batch, width)
    state = (batch, d, hidden) if op.layout else (d, batch, hidden)
    inputs = [normal(*x), normal(d, g * hidden, width), normal(d, g * hidden, hidden),
              normal(d, 2 * g * hidden) if bias else None, lens, normal(*state) if initial else None]
    if isinstance(op, LSTM):
        inputs += [normal(*state, seed=1) if initial else None, normal(d, 3 * hidden) if peepholes else None]
    return Case(op, tuple(inputs), outputs=1 + op.states, dtypes=(DType.F32,), tolerance=4.0, **more)


CASES = [
    case(RNN(hidden_size=5)),
    case(RNN(hidden_size=5, direction="bidirectional"), initial=True, skip=PLAIN),
    case(RNN(hidden_size=5, direction="reverse", activations=("Relu",), clip=0.5), lens=lengths(4, 0, 2), skip=PLAIN),
    case(GRU(hidden_size=5), initial=True),
    case(GRU(hidden_size=5, linear_before_reset=True), bias=True, initial=True),
    case(GRU(hidden_size=5, direction="bidirectional", clip=0.7), lens=lengths(1, 4, 3), initial=True, skip=PLAIN),
    case(GRU(hidden_size=5, direction="reverse", linear_before_reset=True), bias=False, lens=lengths(2, 0, 3),
         skip=PLAIN),
    case(LSTM(hidden_size=5), initial=True, peepholes=True),
    case(LSTM(hidden_size=5, direction="reverse"), bias=False),
    case(LSTM(hidden_size=5, direction="bidirectional"), lens=lengths(4, 1, 0), initial=True, peepholes=True,
         skip=PLAIN),
    case(LSTM(hidden_size=5, input_forget=True, clip=0.4), lens=lengths(3, 3, 2), peepholes=True, skip=PLAIN),
    case(LSTM(hidden_size=5, layout=1), initial=True, skip=NO_LAYOUT),
    case(GRU(hidden_size=5, layout=1, direction="bidirectional"), lens=lengths(4, 1, 2), skip=PLAIN | NO_LAYOUT),
    case(LSTM(hidden_size=5), 0, 2, initial=True, skip=PLAIN | {"onnxruntime": "it leaves the states as they come"}),
    *(case(LSTM(hidden_size=5, activations=(name, "HardSigmoid", name), activation_alpha=(0.7, 0.3, 0.6),
                activation_beta=(0.4, 0.5, 0.3)),
           skip=PLAIN | ({"onnxruntime": "its Softplus gives NaN"} if name == "Softplus" else {}), note=name)
      for name in ("Affine", "Elu", "LeakyRelu", "Relu", "ScaledTanh", "Softplus", "Softsign", "ThresholdedRelu")),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


@pytest.mark.parametrize("case", CASES[:4], ids=str)
def test_half(case: Case) -> None:
    check_half(case)


@pytest.mark.parametrize("op", [GRU(layout=1, direction="bidirectional"), LSTM(layout=1), RNN(layout=1)], ids=str)
def test_layout_1_is_layout_0_with_time_and_batch_exchanged(op: Recurrent) -> None:
    import dataclasses

    inputs = case(op, lens=lengths(4, 1, 2), initial=True).inputs
    turned = [x if x is None or i not in (0, 5, 6) else x.swapaxes(0, 1) for i, x in enumerate(inputs)]
    y, *states = op.reference(*inputs)
    wanted, *wanted_states = dataclasses.replace(op, layout=0).reference(*turned)
    assert_same(y, wanted.transpose(2, 0, 1, 3))
    for state, want in zip(states, wanted_states, strict=True):
        assert_same(state, want.swapaxes(0, 1))


@pytest.mark.parametrize("op", [GRU(direction="bidirectional"), LSTM(layout=1), RNN()], ids=str)
def test_projected(op: Recurrent) -> None:
    import dataclasses

    x, w, *rest = case(op, initial=True).inputs
    assert x is not None and w is not None
    products = x @ w.reshape(-1, w.shape[2]).T
    for got, want in zip(dataclasses.replace(op, projected=True).reference(products, None, *rest),
                         op.reference(x, w, *rest), strict=True):
        assert_same(got, want, 4)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_dynamic_quantize_lstm(direction: str, channels: bool, signed: bool) -> None:
    rng = np.random.default_rng(5)
    op = DynamicQuantizeLSTM(direction=direction, hidden_size=4)
    d, dtype = op.directions, np.int8 if signed else np.uint8
    low = -128 if signed else 0
    scales = [(0.002 + 0.01 * rng.random((d, 16) if channels else d)).astype(np.float32) for _ in range(2)]
    zero = np.full(scales[0].shape, 0 if signed else 117, dtype)
    inputs = [normal(6, 3, 5), *(rng.integers(low, low + 256, (d, k, 16)).astype(dtype) for k in (5, 4)),
              normal(d, 32), lengths(6, 4, 1), normal(d, 3, 4), normal(d, 3, 4, seed=1), normal(d, 12),
              scales[0], zero, scales[1], zero]
    assert inferred(op, *(f"{DType.of(x.dtype).value}[{','.join(map(str, x.shape))}]" for x in inputs)) == \
        f"f32[6,{d},3,4], f32[{d},3,4], f32[{d},3,4]"
    for got, want in zip(op.reference(*inputs), run_microsoft(op, inputs), strict=True):
        np.testing.assert_allclose(got, want, atol=2e-6)  # a number on a rounding tie would differ by far more


def run_microsoft(op: Op, inputs: list[Array]) -> list[Array]:
    import onnxruntime as ort

    names, results = [f"x{i}" for i in range(len(inputs))], ["y", "h", "c"]
    node = helper.make_node(op.op_type, names, results, domain=op.domain, **op.attributes)
    held = (1, 2, 8, 9, 10, 11)
    graph = helper.make_graph(
        [node], "net", [helper.make_tensor_value_info(names[i], DType.of(x.dtype).onnx, x.shape)
                        for i, x in enumerate(inputs) if i not in held],
        [helper.make_tensor_value_info(n, 1, None) for n in results],
        [onnx.numpy_helper.from_array(inputs[i], names[i]) for i in held])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid(op.domain, 1)],
                              ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # with more, each thread quantises its own sequences
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {names[i]: x for i, x in enumerate(inputs) if i not in held}))


@pytest.mark.parametrize(("op", "operands", "types"), [
    (LSTM(hidden_size=8), ["f32[T,N,3]", "f32[1,32,3]", "f32[1,32,8]"], "f32[T,1,N,8], f32[1,N,8], f32[1,N,8]"),
    (GRU(layout=1, direction="bidirectional"), ["f16[N,T,3]", "f16[2,24,3]", "f16[2,24,8]"],
     "f16[N,T,2,8], f16[N,2,8]"),
    (RNN(projected=True), ["f32[T,N,8]", None, "f32[1,8,8]"], "f32[T,1,N,8], f32[1,N,8]"),
])
def test_infer(op: Op, operands: list[str | None], types: str) -> None:
    assert inferred(op, *operands) == types


@pytest.mark.parametrize(("make", "operands", "message"), [
    (lambda: LSTM(direction="up"), [], "direction is 'up', but must be forward, reverse or bidirectional"),
    (lambda: LSTM(layout=2), [], "layout is 2, but must be 0 or 1"),
    (lambda: LSTM(clip=-1.0), [], "clip is -1.0, but must not be negative"),
    (lambda: GRU(activations=("Tanh",)), [], "GRU: 1 activations are given, but 1 direction(s) need 2"),
    (lambda: RNN(activations=("Swish",)), [], "RNN: 'Swish' is not an activation; there are affine, elu,"),
    (lambda: RNN(activations=("Affine",)), [], "the activation Affine needs activation_alpha and activation_beta"),
    (RNN, ["f32[T,N,3]", None, "f32[1,8,8]"], "RNN lacks its input W"),
    (RNN, ["f32[T,N,3]", "f32[1,8,4]", "f32[1,8,8]"], "W is f32[1,8,4], but must have the shape [1,8,3]"),
    (RNN, ["f32[T,N,3]", "f32[1,8,3]", "f32[1,8,8]", "f32[1,8]"], "B is f32[1,8], but must have the shape [1,16]"),
    (lambda: RNN(hidden_size=4), ["f32[T,N,3]", "f32[1,8,3]", "f32[1,8,8]"], "but hidden_size is 4"),
    (RNN, ["f32[T,N,3]", "f32[1,8,3]", "f32[1,8,8]", None, "i64[N]"], "sequence_lens is i64[N], but must be of type"),
    (lambda: RNN(projected=True), ["f32[T,N,3]", None, "f32[1,8,8]"], "projected it must have 8 columns"),
    (DynamicQuantizeLSTM, ["f32[T,N,3]", "u8[1,3,32]", "u8[1,8,32]"], "DynamicQuantizeLSTM lacks its input W_scale"),
])
def test_refused(make: Callable[[], Op], operands: list[str | None], message: str) -> None:
    assert_refused(make, operands, message)


def test_every_function_and_operator_is_tried() -> None:
    tried = {f.name for c in CASES for functions in c.op.gate_functions() for f in functions}  # type: ignore[attr-defined]
    assert tried == set(GATE_FUNCTIONS)
    assert {type(c.op) for c in CASES} == set(RECURRENT) - {DynamicQuantizeLSTM}
