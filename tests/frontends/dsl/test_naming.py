"""Networks of several kinds whose weights are named and counted as torchvision names and counts them."""

from __future__ import annotations

import pytest

import cnncc

TEXT = """\
# MobileNetV2
block inverted(expand, width, stride) of x:
  y = x -> conv:
    if expand != 1: (conv expand*channels(x) 1x1 nobias -> bn -> relu6)
    (depthwise 3x3 stride stride pad 1 nobias -> bn -> relu6)
    conv width 1x1 nobias -> bn
  if stride == 1 and channels(x) == width: y + x

network mobilenet_v2(classes = 1000):
  input image: f32[N,3,224,224]
  features:
    (conv 32 3x3 stride 2 pad 1 nobias -> bn -> relu6)
    for expand, width, depth, stride in (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), \
(6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1):
      repeat depth as i: inverted expand width (stride if i == 0 else 1)
    (conv 1280 1x1 nobias -> bn -> relu6)
  global_avgpool -> flatten
  classifier: (dropout -> linear classes)

# DenseNet
block dense(growth) of x:
  y = x -> norm1: bn -> relu -> conv1: conv 4*growth 1x1 nobias
        -> norm2: bn -> relu -> conv2: conv growth 3x3 pad 1 nobias
  concat(x, y)

network densenet121(classes = 1000, growth = 32):
  input image: f32[N,3,224,224]
  features:
    conv0: conv 64 7x7 stride 2 pad 3 nobias -> norm0: bn -> relu -> maxpool 3x3 stride 2 pad 1
    for stage, depth in (1, 6), (2, 12), (3, 24), (4, 16):
      denseblock{stage}:
        repeat depth as i: denselayer{i + 1}: dense growth
      if stage < 4:
        transition{stage}: half
    norm5: bn
  relu -> global_avgpool -> flatten -> classifier: linear classes

block half of x:
  norm: bn -> relu -> conv: conv channels(x)//2 1x1 nobias -> avgpool 2x2

# ViT
block attention(heads) of x:
  dim = size(x, 2)
  weight in_proj_weight: f32[3*dim, dim]
  weight in_proj_bias: f32[3*dim] = 0
  qkv = MatMul(x, (in_proj_weight -> transpose [1, 0])) + in_proj_bias
  qkv -> reshape [0, 0, 3, heads, dim//heads] -> transpose [2, 0, 3, 1, 4]
  q, k, v = split 3 axis 0
  w = MatMul((q -> squeeze [0]), (k -> squeeze [0] -> transpose [0, 1, 3, 2])) / ((dim//heads) / 1.0) -> softmax
  MatMul(w, (v -> squeeze [0])) -> transpose [0, 2, 1, 3] -> reshape [0, 0, dim] -> out_proj: linear dim

block encoder_layer(heads, hidden) of x:
  y = x -> ln_1: layer_norm epsilon 1e-6 -> self_attention: attention heads
  y = y + x
  z = y -> ln_2: layer_norm epsilon 1e-6 -> mlp: (linear hidden -> gelu -> dropout -> linear size(x, 2) -> dropout)
  y + z

network vit_b_16(classes = 1000, dim = 768, heads = 12):
  input image: f32[N,3,224,224]
  weight class_token: f32[1,1,dim] = 0
  image -> conv_proj: conv dim 16x16 stride 16 -> reshape [0, dim, 196]
  tokens = transpose [0, 2, 1]
  n = Shape(image) start 0 end 1
  shape = Concat(n, const i64[2] [1, 768]) axis 0
  x = concat(Expand(class_token, shape), tokens)
  encoder:
    weight pos_embedding: f32[1,197,dim]
    y = x + pos_embedding
    layers:
      repeat 12 as i: encoder_layer_{i}: encoder_layer heads 4*dim
    ln: layer_norm epsilon 1e-6
  Gather indices 0 axis 1
  heads: (head: linear classes)
"""


@pytest.mark.parametrize(("network", "parameters", "some"), [
    ("mobilenet_v2", 3_504_872, ["features.0.0.weight", "features.1.conv.0.0.weight", "features.1.conv.1.weight",
                                 "features.2.conv.0.0.weight", "features.17.conv.3.running_var", "features.18.1.bias",
                                 "classifier.1.weight"]),
    ("densenet121", 7_978_856, ["features.conv0.weight", "features.denseblock1.denselayer1.norm1.weight",
                                "features.denseblock4.denselayer16.conv2.weight", "features.transition2.conv.weight",
                                "features.norm5.bias", "classifier.weight"]),
    ("vit_b_16", 86_567_656, ["class_token", "conv_proj.weight", "encoder.pos_embedding", "heads.head.bias",
                              "encoder.layers.encoder_layer_0.self_attention.in_proj_weight",
                              "encoder.layers.encoder_layer_11.self_attention.out_proj.bias",
                              "encoder.layers.encoder_layer_3.ln_1.weight", "encoder.ln.bias",
                              "encoder.layers.encoder_layer_3.mlp.3.weight"])])
def test_names_and_counts(network: str, parameters: int, some: list[str]) -> None:
    graph = cnncc.network(TEXT, network, seed=None)
    assert cnncc.summary(graph).parameters == parameters
    assert {v.name for v in graph.constants} >= set(some)
    assert str(graph.outputs[0].type) == "f32[N,1000]"
