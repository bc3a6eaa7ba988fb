"""Texts with errors, by what is wrong; errors.txt holds the messages."""

from __future__ import annotations

__all__ = ["BROKEN"]

_HEAD = "network a:\n  input x: f32[N,4,8,8]\n"

BROKEN: dict[str, str] = {
    "no_network": "",
    "layer_outside": "conv 64 3x3\n",
    "missing_colon": "network a\n  relu\n",
    "unknown_layer": _HEAD + "  cnov 64 3x3\n",
    "unknown_attribute": _HEAD + "  conv 64 3x3 strid 2\n",
    "equals": _HEAD + "  conv 64 3x3 stride=2\n",
    "missing_channels": _HEAD + "  conv\n",
    "missing_kernel": _HEAD + "  conv 64\n",
    "no_value": _HEAD + "  conv 64 3x3 stride\n",
    "given_twice": _HEAD + "  conv 64 3x3 pad 1 pad 2\n",
    "too_many": _HEAD + "  conv 64 3x3 5 6\n",
    "group": _HEAD + "  conv 6 3x3 group 3\n",
    "window_too_large": _HEAD + "  conv 4 9x9 -> relu\n",
    "shapes": _HEAD + "  y = x -> conv 5 3x3\n  y + x\n",
    "shapes_in_blocks":
        "block inner of a:\n  b = a -> conv 4 3x3\n  a + b\nblock outer(n):\n  repeat n: inner\n"
        + _HEAD + "  stem: outer 2\n",
    "concat": _HEAD + "  y = x -> maxpool 2x2\n  concat(x, y)\n",
    "several": _HEAD + "  cnov 3\n  y = relu7\n  relu -> y\n  maxpool 2x2 strude 1\n  output z\n",
    "unknown_value": _HEAD + "  y = relu\n  output yy\n",
    "no_input": "network a:\n  conv 3 3x3\n",
    "block_parameter":
        "block b(width, stride = 1):\n  conv width 3x3 stride stride\n" + _HEAD + "  b 3 strid 2\n  b\n",
    "block_inputs": "block b of p, q:\n  p + q\n" + _HEAD + "  x -> b\n",
    "recursion": "block b:\n  b\n" + _HEAD + "  b\n",
    "indentation": _HEAD + "    relu\n",
    "dedent": _HEAD + "  if true:\n      relu\n    tanh\n",
    "no_body": _HEAD + "  features:\n  relu\n",
    "else": _HEAD + "  else: relu\n",
    "open_string": _HEAD + "  y = \"abc\n",
    "bad_character": _HEAD + "  y = x ? 3\n",
    "dtype": "network a:\n  input x: float32[N,3]\n",
    "division": _HEAD + "  conv 3//0 3x3\n",
    "float_division": _HEAD + "  conv 7/2 3x3\n",
    "condition": _HEAD + "  if 3: relu\n",
    "symbolic_condition": _HEAD + "  if size(x, 0) > 1: relu\n",
    "names": _HEAD + "  for a, b in (1, 2), (3, 4, 5):\n    conv a 1x1\n",
    "tensor_as_number": _HEAD + "  conv x 3x3\n",
    "number_as_tensor": _HEAD + "  y = 3\n  y -> relu\n",
    "duplicate_weight": _HEAD + "  a: conv 4 1x1\n  a: conv 4 1x1\n",
    "symbolic_channels": "network a:\n  input x: f32[N,C,8,8]\n  conv 3 3x3\n",
    "constant": _HEAD + "  c = const i64[3] [1, 2]\n",
    "repeat": _HEAD + "  repeat 100000: relu\n",
    "minus": _HEAD + "  y = relu\n  y -x\n",
    "network_inside": _HEAD + "  block b:\n    relu\n",
    "onnx_operator": _HEAD + "  LRN -> Softmax axis 7\n",
    "activation": _HEAD + "  Conv(x, x) activation rleu\n",
    "label": _HEAD + "  a: x\n",
    "unused": _HEAD + "  1 + 2\n",
}
