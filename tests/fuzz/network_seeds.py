"""Networks in cnncc's language from which mutants are made: small ones that between them use all of its forms."""

from __future__ import annotations

__all__ = ["SEEDS"]

SEEDS = ["""\
block unit(width, stride = 1) of x:  # a residual
  y = x -> conv1: conv width 3x3 stride stride pad 1 nobias -> bn1: bn
        -> relu
  if stride > 1 or channels(x) != width:
    x = x -> downsample: (conv width 1x1 stride stride nobias -> bn)
  elif width == 1: x = relu(x)
  else:
    x = x
  y + x -> relu

network small(depth = 1):
  input image: f32[N,4,8,8]
  layer1:
    unit 4
    repeat depth: unit 6 stride 2
""", """\
block halves(n):
  a, b = split(relu) 2
  output a
  output second = b -> conv n 1x1

network two(classes = 3):
  input image: f32[N,4,8,8]
  p, q = halves 2
  z = concat(p, q)
  global_avgpool -> flatten -> fc: linear classes
  output scores = softmax axis 1
  output map = z

network other:
  input x: f32[2,3]
  relu
""", """\
network loops(width = 2):
  input x: f32[1,2,6,6]
  for w, d in (2, 1), (4, 2):
    repeat d as i: l{w}_{i}: conv w*width 3x3 same -> leaky_relu 0.1
  for k in [1, 3]:
    conv min(k, 2) [k, k] pad k//2 dilation 1
""", """\
network values:
  input x: f32[1,2,6,6]
  input y: f32[1,2,6,6]
  weight scale: f32[1,1,1] = 0.5
  s = x * scale + y / 2.0 - 1 -> _: (tanh -> "named group": (sigmoid -> relu))
  t = (x + y) -> maxpool 2x2 -> upsample 2
  output "the other" = t -> depthwise 3x3 multiplier 2 pad 1 -> conv_transpose 3 2x2 stride 2
  output s
""", """\
network shapes:
  input x: f32[1,2,6,6]
  c = const i64[4] [0, 2, -1, 6]
  r = x -> Reshape shape [0, 2, 36] -> Transpose perm [0, 2, 1] -> layer_norm
  output out = reshape(r, c) if size(x, 1) == 2 and not rank(x) != 4 else r
""", """\
network symbolic:
  input x: f32[B,4,S,6]
  n = Shape(x) start 0 end 1
  f = x -> global_avgpool -> flatten -> linear 5 -> hard_swish -> prelu -> dropout
  e = ConstantOfShape(n) -> CumSum(const i64[] 0)
  h = x -> ReduceMean axes [2, 3] keepdims false -> Unsqueeze axes [0]
  u = Expand(h, const i64[3] [1, 1, 4]) -> Tile(const i64[3] [1, 2, 1]) -> Clip min -1.0 max 6
  output v = u
""", """\
network windows:
  input x: f32[1,4,6,6]
  g = x -> Pad(const i64[8] [0, 0, 1, 1, 0, 0, 1, 1]) mode "reflect" -> avgpool 3x3 stride 1
  k = Slice(x, const i64[1] [0], const i64[1] [2], const i64[1] [1]) -> group_norm 2
  output k = k -> conv 4 [3, 3] pad [1, 1, 1, 1] group 2 -> instance_norm -> silu -> lrn 3
  output g
""", """\
network selections:
  input f: f32[3,5]
  v, i = TopK(f, const i64[1] [2]) axis -1
  m = f -> Einsum(f) equation "ij,kj->ik"
  w = f if true else (Cast f64)
  o = Gather(f, const i64[2] [0, 1]) axis 1 -> Resize(none, none, const i64[2] [4, 4])
  output o = o * const f32[] 0.5
"""]
