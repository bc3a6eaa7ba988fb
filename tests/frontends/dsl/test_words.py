"""Layers and their arguments: what a line of text makes of the graph."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cnncc.frontends.dsl import LanguageError, build_network
from cnncc.frontends.dsl.layers import WORDS, find_word
from cnncc.ir import Graph, evaluate, format_node
from cnncc.ops import OPS

HEAD = "network a(n = 4, twice = false):\n  input x: f32[N,4,8,8]\n"


def build(*lines: str, **options: object) -> Graph:
    return build_network(HEAD + "".join(f"  {line}\n" for line in lines), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("line", "node"), [
    ("conv 6 3x3", "Conv(%x, %0.weight, %0.bias) : f32[N,6,6,6]"),
    ("conv 6 3x3 nobias same stride 2", 'Conv(%x, %0.weight) {auto_pad="SAME_UPPER", strides=[2,2]} : f32[N,6,4,4]'),
    ("conv n + 2 3 pad 1", "Conv(%x, %0.weight, %0.bias) {pads=[1,1,1,1]} : f32[N,6,8,8]"),
    ("conv 6 1x3 pad [0, 1]", "Conv(%x, %0.weight, %0.bias) {pads=[0,1,0,1]} : f32[N,6,8,8]"),
    ("conv 6 3x3 pads [0, 1, 2, 3] dilation 2",
     "Conv(%x, %0.weight, %0.bias) {dilations=[2,2], pads=[0,1,2,3]} : f32[N,6,6,8]"),
    ("depthwise 3x3 multiplier 2", "Conv(%x, %0.weight, %0.bias) {group=4} : f32[N,8,6,6]"),
    ("conv_transpose 2 2x2 stride 2", "ConvTranspose(%x, %0.weight, %0.bias) {strides=[2,2]} : f32[N,2,16,16]"),
    ("maxpool 2x2", "MaxPool(%x) {kernel_shape=[2,2], strides=[2,2]} : f32[N,4,4,4]"),
    ("MaxPool 2x2", "MaxPool(%x) {kernel_shape=[2,2]} : f32[N,4,7,7]"),
    ("bn 0.001",
     "BatchNormalization(%x, %0.weight, %0.bias, %0.running_mean, %0.running_var) {epsilon=0.001} : f32[N,4,8,8]"),
    ("concat(x, x)", "Concat(%x, %x) {axis=1} : f32[N,8,8,8]"),
    ("x -> concat(x) axis 2", "Concat(%x, %x) {axis=2} : f32[N,4,16,8]"),
    ("ReduceMean axes [2, 3] keepdims false", "ReduceMean(%x, %0.axes) {keepdims=false} : f32[N,4]"),
    ("reshape [0, -1]", "Reshape(%x, %0.shape) : f32[N,256]"),
    ("transpose [0, 2, 3, 1]", "Transpose(%x) {perm=[0,2,3,1]} : f32[N,8,8,4]"),
    ("Cast f16", "Cast(%x) {to=f16} : f16[N,4,8,8]"),
    ("gelu tanh", 'Gelu(%x) {approximate="tanh"} : f32[N,4,8,8]'),
    ("Clip min 0.0", "Clip(%x, %0.min) : f32[N,4,8,8]"),
    ("Clip(x, none, const f32[] 6.0)", "Clip(%x, none, %constant) : f32[N,4,8,8]"),
    ("upsample 2", 'Resize(%x, none, %0.scales) {coordinate_transformation_mode="asymmetric", nearest_mode="floor"}'
                   " : f32[N,4,16,16]"),
    ("x * 2", "Mul(%x, %mul.constant) : f32[N,4,8,8]"),
    ("-x", "Neg(%x) : f32[N,4,8,8]"),
    ("group_norm 2", "GroupNormalization(%x, %0.weight, %0.bias) {num_groups=2} : f32[N,4,8,8]"),
])
def test_a_line_and_its_node(line: str, node: str) -> None:
    assert format_node(build(line).nodes[-1]).partition(" = ")[2].partition(" @")[0] == node


def test_every_operator_is_a_word_with_all_its_attributes() -> None:
    for op_type, op in OPS.items():
        for name in (op_type, op_type.lower()):
            word = find_word(name)
            assert word is not None
            if name not in WORDS:
                assert set(word.keywords.values()) >= {f.name for f in dataclasses.fields(op)}  # type: ignore[arg-type]


@pytest.mark.parametrize(("lines", "weights"), [
    (["a: conv 4 1x1 nobias -> relu -> conv 4 1x1 nobias"], ["a.weight", "2.weight"]),
    (["a = conv 4 1x1 nobias"], ["a.weight"]),
    (["y = x -> conv 4 1x1 nobias"], ["0.weight"]),
    (["s: (relu -> conv 4 1x1 nobias)"], ["s.1.weight"]),
    (["(conv 4 1x1 nobias -> relu) -> (relu -> conv 4 1x1 nobias)"], ["0.0.weight", "1.1.weight"]),
    (["(x + x) -> conv 4 1x1 nobias"], ["0.weight"]),
    (["s:", "  repeat 2 as i: l{i + 1}: conv 4 1x1 nobias"], ["s.l1.weight", "s.l2.weight"]),
    (["_: conv 4 1x1 nobias"], ["weight"]),
    (['"a/b": conv 4 1x1 nobias'], ["a/b.weight"]),
    (["block: conv 4 1x1 nobias"], ["block.weight"]),
    (["weight w: f32[n,1,1] = 0.5", "s: (x * w)"], ["w"]),
])
def test_names_of_weights(lines: list[str], weights: list[str]) -> None:
    assert [v.name for v in build(*lines).constants] == weights


def test_blocks_inline_and_with_two_outputs() -> None:
    text = "block two(width) of a, b:\n  output p = a -> l: conv width 1x1 nobias\n  output q = p + b\n" + HEAD \
        + "  p, q = two(x, x) 4\n  inner: two(q, p) width 4\n  _: two(q, p) 4\n  output q\n"
    graph = build_network(text)
    assert [v.name for v in graph.constants] == ["0.l.weight", "inner.l.weight", "l.weight"]


def test_parameters_conditions_and_a_name_that_is_a_keyword_too() -> None:
    text = "block b(width, stride = 1):\n  conv width 3x3 stride stride pad 1\n  if stride == 1: relu\n" \
           "  elif stride == 2: tanh\n  else: sigmoid\n" + HEAD \
        + "  for width, stride in (4, 1), (n*2, 2), (6, 3): b width stride stride\n"
    operators = [n.op.op_type for n in build_network(text).nodes]
    assert operators == ["Conv", "Relu", "Conv", "Tanh", "Conv", "Sigmoid"]
    graph = build_network(text, parameters={"n": 5})
    assert [n.output.type.shape[1] for n in graph.nodes][2] == 10
    with pytest.raises(Exception, match="did you mean 'twice'"):
        build_network(text, parameters={"twise": 5})


def test_numbers_of_a_network() -> None:
    graph = build("y = x * 2 + 1", "output y = y - x / 4.0")
    x = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(evaluate(graph, {"x": x})["y"], x * 2 + 1 - x / 4, rtol=1e-6)


def test_linear_on_more_axes_is_the_same_product() -> None:
    graph = build("output y = fc: linear 3")
    x = np.random.default_rng(0).standard_normal((2, 4, 8, 8)).astype(np.float32)
    weights = {v.name: v.constant for v in graph.constants}
    wanted = x @ weights["fc.weight"].T + weights["fc.bias"]  # type: ignore[union-attr,operator]
    np.testing.assert_allclose(evaluate(graph, {"x": x})["y"], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("text", "message"), [
    (HEAD + "  repeat 10000:\n    repeat 10000: relu\n", "more than 20,000 layers"),
    (HEAD + "  repeat 10000:\n    repeat 10000: y = 1\n", "more than 200,000 lines"),
    (HEAD + "  y = " + "-" + "(" * 40 + "1" + ")" * 40 + "\n", "more than 32 brackets"),
    (HEAD + "  y = " + "1 + " * 8000 + "1\n", "more than 20,000 characters"),
    (HEAD + "  y = " + "not " * 4000 + "true\n", "too deeply"),
    (HEAD + "  y = " + "1+" * 4000 + "1\n", "too deeply"),
    (HEAD + "  y = 999999999999999999999\n", "more than 20 digits"),
    (HEAD + "  y = 9007199254740992 * 2\n", "2^53"),
    (HEAD + "  conv 9007199254740992 3x3\n", "more than 2^47 bytes"),
    ("".join("  " * d + "if true:\n" for d in range(40)) + "  " * 40 + "relu\n", "nested deeper than 32"),
    (HEAD + "  # " + "x" * 1_000_000 + "\n", "a line of more than 20,000 characters"),
    (HEAD + "\n" * 5_000_000, "the limit is 4,194,304"),
    (HEAD + "  y\n" * 100_000, "more than 100,000 lines"),
    (HEAD + "  = \n" * 5000, "'='"),
    (HEAD + "  if true: relu\n" + "  elif\n" * 200, "elif"),
    (HEAD + "  a = [1, 2]\n" + "  repeat 60: a = [a, a]\n", "a list of more than 100,000 numbers"),
    (HEAD + "  repeat 10000: y = [" + "1, " * 500 + "1]\n", "more than 2,000,000 expressions"),
    (HEAD + "  a = [" + "1, " * 6000 + "1]\n  repeat 2000: const i64[6001] a\n", "more than 10,000,000 numbers"),
    (HEAD + "  Transpose perm [" + "0, " * 1000 + "0]\n", "at most 1,000"),
    (HEAD + "".join("  " * d + "x" * 50 + ":\n" for d in range(1, 25)) + "  " * 25 + "relu\n", "1,000 characters"),
    (HEAD + "  y" + "y" * 1000 + " = x\n", "1,000 characters"),
    (HEAD + "  n = size(x, 0)\n  repeat 60: n = n * n\n", "more than 512 parts"),
    (HEAD + "  n = size(x, 0)\n  repeat 60: n = n//(n + 1) + n%7\n", "more than 512 parts"),
    (HEAD + "  repeat 80: x = concat(x, x) axis 0\n", "numbers of more than 64 bits"),
    ("network a:\n  input x: f32[" + "1, " * 8 + "1]\n  relu\n", "a tensor of 9 axes: there may be 8"),
    ("network a(p = " + "1 + " * 200 + "1):\n  input x: f32[1]\n  relu\n", "too deeply"),
    ("block b:\n  relu\n" * 200 + HEAD + "  b\n", "two blocks named 'b'"),
    ("".join(f"block b{i}:\n  b{i + 1} -> b{i + 1}\n" for i in range(33)) + HEAD + "  b0\n", "32 deep"),
    (HEAD + '  "\\ud800": relu\n', "surrogates not allowed"),
    (HEAD + "  conv 4 1.5\n", "made of whole numbers"),
], ids=["layers", "lines", "brackets", "characters", "not", "sums", "digits", "product", "weight", "nesting", "comment",
        "text", "statements", "errors", "branches", "lists", "expressions", "constants", "attribute", "labels", "name",
        "powers", "quotients", "coefficients", "axes", "parameter", "blocks", "calls", "surrogate", "fraction"])
def test_sizes_are_bounded(text: str, message: str) -> None:
    with pytest.raises(LanguageError) as info:
        build_network(text, seed=None)
    assert message in str(info.value)
    assert len(str(info.value)) < 100_000


def test_random_damage_ends_in_errors_of_the_language() -> None:
    text = "block b(w, s = 1) of x:\n  y = x -> conv w 3x3 stride s pad 1 -> bn\n  if s == 1: y + x -> relu\n" + HEAD \
        + "  l:\n    repeat 2: b n\n  output y = softmax axis 1\n"
    rng = np.random.default_rng(0)
    pieces = [*'(),:=-> \n"{}[]#*+x19', "->", "if", "  ", "conv", "repeat", "in", "const"]
    refused = 0
    for _ in range(400):
        at, length = rng.integers(len(text)), rng.integers(4)
        damaged = text[:at] + str(rng.choice(pieces)) + text[at + length:]
        try:
            build_network(damaged, seed=None)
        except LanguageError as error:
            refused += 1
            assert error.diagnostics
            assert all(d.message and d.span.start <= len(damaged) for d in error.diagnostics)
    assert refused > 200
