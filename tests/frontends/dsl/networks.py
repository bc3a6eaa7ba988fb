"""Random networks in the language, of layers that change neither the shape nor the type of a value."""

from __future__ import annotations

import numpy as np

__all__ = ["random_text"]

_STEPS = (
    "conv 4 3x3 pad 1", "conv 4 1x1 nobias", "conv 4 3x3 same", "conv 4 3x3 group 2 dilation 2 pad 2",
    "depthwise 3x3 pad 1", "conv_transpose 4 3x3 pad 1", "bn", "relu", "relu6", "tanh", "sigmoid",
    "leaky_relu 0.1", "hard_swish", "gelu", "maxpool 3x3 stride 1 pad 1",
    "avgpool 3x3 stride 1 pad 1 count_include_pad true", "prelu 4", "lrn 3",
    "softmax axis 1", "group_norm 2", "instance_norm", "Clip min -1.0 max 2.0", "linear 6", "layer_norm", "elu 0.5",
    "reshape [0, 2, 2, 6, 6] -> transpose [0, 2, 1, 3, 4] -> reshape [0, 4, 6, 6]", "unit 8", "unit 4 twice true",
    "ReduceMean axes [2, 3] -> upsample 6", "Transpose perm [0, 1, 3, 2]", "dropout 0.5", "silu")

_UNIT = """\
block unit(width, twice = false) of x:
  y = x -> expand: conv width 1x1 -> act: relu
  if twice or width != channels(x): y = y -> project: (conv channels(x) 3x3 pad 1 -> bn)
  x + y*0.5
"""


def random_text(seed: int) -> str:
    """A network of up to ten lines: pipelines, residuals, concatenations, blocks, groups and repeats."""
    rng = np.random.default_rng(seed)
    lines = ["network random:", "  input x: f32[N,4,6,6]"]
    values = ["x"]

    def steps(most: int) -> str:
        return " -> ".join(rng.choice(_STEPS) for _ in range(int(rng.integers(1, most + 1))))

    for at in range(int(rng.integers(2, 8))):
        a, b = rng.choice(values, 2)
        lines.append("  " + str(rng.choice([
            f"v{at} = {a} -> {steps(3)}",
            f"v{at} = {a} {rng.choice(['+', '-', '*'])} {b}",
            f"v{at} = concat({a}, {b}) -> conv 4 1x1",
            f"v{at} = {a} -> stage{at}: ({steps(2)} -> inner: {rng.choice(_STEPS[:8])})"
            if at % 2 else f"v{at} = {a} * {int(rng.integers(1, 4))} + 0.25",
        ])))
        values.append(f"v{at}")
        if rng.random() < 0.3:
            lines.append(f"  repeat {int(rng.integers(1, 3))}: {steps(2)}")
    lines.append(f"  output y = {values[-1]} + {rng.choice(values)}")
    if rng.random() < 0.5:
        lines.append("  output z = x -> " + steps(2))
    return _UNIT + "\n" + "\n".join(lines) + "\n"
