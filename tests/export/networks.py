"""Small networks in PyTorch, of the kinds that people export, and their export by both of PyTorch's exporters.

Sizes are small, structures those of the originals. Weights are seeded.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["EXPORTERS", "NETWORKS", "Network", "export", "opsets"]


# -- operators that torchvision has: PyTorch knows their names and shapes here, the exporters their ONNX nodes ---------

@torch.library.custom_op("cnncc_tests::nms", mutates_args=())
def nms(boxes: Tensor, scores: Tensor, most: int, overlap: float) -> Tensor:
    """The numbers of the boxes [S, 4] that NonMaxSuppression keeps, [K] (when traced: the first ones)."""
    return torch.arange(min(most, boxes.shape[0]))


@nms.register_fake
def _(boxes: Tensor, scores: Tensor, most: int, overlap: float) -> Tensor:
    return torch.empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)


@torch.library.custom_op("cnncc_tests::roi_align", mutates_args=())
def roi_align(x: Tensor, rois: Tensor, pictures: Tensor, size: int, scale: float) -> Tensor:
    """RoiAlign of x [N, C, H, W] to [R, C, size, size] (when traced: zeros)."""
    return x.new_zeros(rois.shape[0], x.shape[1], size, size)


@roi_align.register_fake
def _(x: Tensor, rois: Tensor, pictures: Tensor, size: int, scale: float) -> Tensor:
    return x.new_empty(rois.shape[0], x.shape[1], size, size)


def _nms_symbolic(g: Any, boxes: Any, scores: Any, most: Any, overlap: Any) -> Any:
    from torch.onnx._internal.torchscript_exporter import symbolic_helper as helper

    def constant(value: Any, dtype: torch.dtype) -> Any:
        return g.op("Constant", value_t=torch.tensor([value], dtype=dtype))

    boxes, scores = (helper._unsqueeze_helper(g, v, axes) for v, axes in ((boxes, [0]), (scores, [0, 1])))
    kept = g.op("NonMaxSuppression", boxes, scores, constant(helper._parse_arg(most, "i"), torch.int64),
                constant(helper._parse_arg(overlap, "f"), torch.float32))
    return helper._squeeze_helper(g, helper._slice_helper(g, kept, axes=[1], starts=[2], ends=[3]), [1])


def _roi_align_symbolic(g: Any, x: Any, rois: Any, pictures: Any, size: Any, scale: Any) -> Any:
    from torch.onnx._internal.torchscript_exporter import symbolic_helper as helper

    side = helper._parse_arg(size, "i")
    return g.op("RoiAlign", x, rois, pictures, output_height_i=side, output_width_i=side, sampling_ratio_i=2,
                spatial_scale_f=helper._parse_arg(scale, "f"), mode_s="avg")


def _translations() -> dict[Any, Callable[..., Any]]:
    """The ONNX nodes of these operators for the exporter of torch.export."""
    from onnxscript import opset18 as op

    def nms_nodes(boxes: Any, scores: Any, most: int, overlap: float) -> Any:
        kept = op.NonMaxSuppression(
            op.Unsqueeze(boxes, op.Constant(value_ints=[0])), op.Unsqueeze(scores, op.Constant(value_ints=[0, 1])),
            op.Constant(value_ints=[most]), op.Constant(value_floats=[overlap]))
        return op.Squeeze(op.Slice(kept, op.Constant(value_ints=[2]), op.Constant(value_ints=[3]),
                                   op.Constant(value_ints=[1])), op.Constant(value_ints=[1]))

    def roi_align_nodes(x: Any, rois: Any, pictures: Any, size: int, scale: float) -> Any:
        return op.RoiAlign(x, rois, pictures, output_height=size, output_width=size, sampling_ratio=2,
                           spatial_scale=scale, mode="avg")

    return {torch.ops.cnncc_tests.nms.default: nms_nodes, torch.ops.cnncc_tests.roi_align.default: roi_align_nodes}


# -- networks ----------------------------------------------------------------------------------------------------------

def convolution(inputs: int, outputs: int, stride: int = 1, rank: int = 2) -> nn.Sequential:
    make, norm = (nn.Conv2d, nn.BatchNorm2d) if rank == 2 else (nn.Conv3d, nn.BatchNorm3d)
    return nn.Sequential(make(inputs, outputs, 3, stride, 1, bias=False), norm(outputs), nn.ReLU())


class Detector(nn.Module):
    """In the manner of Mask R-CNN: proposals by anchors, suppressed, pooled by RoiAlign, classified, with masks."""

    def __init__(self, channels: int = 8, classes: int = 3, side: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(convolution(3, channels, 2), convolution(channels, channels, 2))
        self.objectness, self.deltas = nn.Conv2d(channels, 2, 1), nn.Conv2d(channels, 8, 1)
        self.head = nn.Linear(channels * 9, classes)
        self.boxes = nn.Linear(channels * 9, 4 * classes)
        self.mask = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(),
                                  nn.ConvTranspose2d(channels, channels, 2, 2), nn.Conv2d(channels, classes, 1))
        at = torch.arange(side) * 4.0 + 2
        y, x = torch.meshgrid(at, at, indexing="ij")
        centres = torch.stack([x, y], -1).reshape(-1, 1, 2).expand(-1, 2, 2)
        self.register_buffer("centres", centres.reshape(-1, 2).contiguous())
        self.register_buffer("sizes", torch.tensor([[6.0, 9.0], [12.0, 8.0]]).repeat(side * side, 1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        features = self.body(image)
        scores = self.objectness(features).permute(0, 2, 3, 1).reshape(-1)
        deltas = self.deltas(features).permute(0, 2, 3, 1).reshape(-1, 4)
        centre = self.centres + deltas[:, :2] * self.sizes
        half = self.sizes * torch.exp(torch.clamp(deltas[:, 2:], max=4.0)) / 2
        boxes = torch.cat([centre - half, centre + half], 1).clamp(0, 32)
        best, order = torch.topk(scores.sigmoid(), 40)
        boxes = boxes[order]
        kept = torch.ops.cnncc_tests.nms(boxes, best, 30, 0.3)
        boxes, best = boxes[kept], best[kept]
        pictures = torch.zeros_like(kept)
        pooled = torch.ops.cnncc_tests.roi_align(features, boxes, pictures, 3, 0.25)
        flat = pooled.flatten(1)
        masks = self.mask(torch.ops.cnncc_tests.roi_align(features, boxes, pictures, 4, 0.25)).sigmoid()
        return boxes, self.head(flat).softmax(1), self.boxes(flat), masks


class Recurrent(nn.Module):
    """A classifier of sequences [N, T, F]: two layers in both directions, the last outputs classified."""

    def __init__(self, kind: type[nn.RNNBase], features: int = 6, hidden: int = 8) -> None:
        super().__init__()
        self.layers = kind(features, hidden, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x)[0][:, -1]).log_softmax(1)


class Encoder(nn.Module):
    """A transformer encoder over tokens, with learned positions."""

    def __init__(self, width: int = 16, tokens: int = 11, length: int = 9) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.positions = nn.Parameter(torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(width, 4, 32, activation="gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.layers(self.embedding(tokens) + self.positions)


class ViT(nn.Module):
    """A vision transformer: patches, a class token, positions, encoder layers."""

    def __init__(self, width: int = 16, patch: int = 8, size: int = 32) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 1 + (size // patch)**2, width))
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(width, 2, 32, activation="gelu", batch_first=True)
                                    for _ in range(2))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)

    def forward(self, image: Tensor) -> Tensor:
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x)[:, 0])


class ResNet3d(nn.Module):
    """A residual network over pictures in time [N, C, T, H, W]."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(3, channels, (3, 5, 5), (1, 2, 2), (1, 2, 2), bias=False),
                                  nn.BatchNorm3d(channels), nn.ReLU())
        self.one = convolution(channels, channels, rank=3)
        self.two = nn.Sequential(convolution(channels, 2 * channels, 2, rank=3),
                                 nn.Conv3d(2 * channels, 2 * channels, 3, padding=1))
        self.short = nn.Conv3d(channels, 2 * channels, 1, 2)
        self.head = nn.Linear(2 * channels, 5)

    def forward(self, clip: Tensor) -> Tensor:
        x = self.stem(clip)
        x = x + self.one(x)
        x = F.relu(self.short(x) + self.two(x))
        return self.head(F.adaptive_avg_pool3d(x, 1).flatten(1))


class UNet(nn.Module):
    """An encoder and a decoder of two levels with skips; the upsampled is cropped by padding to the skip's size."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.down1, self.down2 = convolution(3, channels), convolution(channels, 2 * channels)
        self.bottom = convolution(2 * channels, 2 * channels)
        self.up2, self.up1 = convolution(4 * channels, channels), convolution(2 * channels, channels)
        self.head = nn.Conv2d(channels, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        one = self.down1(image)
        two = self.down2(F.max_pool2d(one, 2))
        x = self.bottom(F.max_pool2d(two, 2))
        x = F.interpolate(x, size=two.shape[2:], mode="bilinear", align_corners=False)
        x = self.up2(torch.cat([x, two], 1))
        x = F.interpolate(x, size=one.shape[2:], mode="nearest")
        return self.head(self.up1(torch.cat([x, one], 1)))


class ChannelsLast(nn.Module):
    """As TensorFlow has it: tensors [N, H, W, C], each layer between transpositions."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, channels, 3, 2, 1), nn.Conv2d(channels, channels, 3, padding=1,
                                                                              groups=channels),
                                     nn.Conv2d(channels, 2 * channels, 1)])
        self.scale = nn.Parameter(torch.rand(2 * channels) + 0.5)
        self.head = nn.Linear(2 * channels, 5)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for layer in self.layers:
            x = layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).clamp(0, 6)
        return self.head((x * self.scale).mean((1, 2))).softmax(-1)


class Branches(nn.Module):
    """Two ways through a network, of which the data choose one, by torch.cond."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.stem, self.light = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, channels, 1)
        self.heavy = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(),
                                   nn.Conv2d(channels, channels, 3, padding=1))
        self.head = nn.Linear(channels, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = torch.cond(x.mean() > 0, lambda v: self.light(v), lambda v: self.heavy(v), (x,))
        return self.head(y.mean((2, 3)))


class ScriptedBranches(Branches):
    """The same, by an `if`."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if bool(x.mean() > 0):
            y = self.light(x)
        else:
            y = self.heavy(x)
        return self.head(y.mean((2, 3)))


class Refine(nn.Module):
    """A layer again and again until the data are small, by torch's while_loop."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.stem, self.step = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch._higher_order_ops.while_loop(
            lambda i, v: (v.abs().max() > 0.1) & (i < 6), lambda i, v: (i + 1, 0.5 * torch.tanh(self.step(v))),
            (torch.tensor(0), self.stem(x)))[1]


class ScriptedRefine(Refine):
    """The same, by a `while`."""

    def forward(self, x: Tensor) -> Tensor:
        x, i = self.stem(x), 0
        while i < 6 and bool(x.abs().max() > 0.1):
            x = 0.5 * torch.tanh(self.step(x))
            i += 1
        return x


class Repeat(Refine):
    """A layer as many times as there are pictures: a `for` over a size."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(x.shape[0]):
            x = torch.relu(self.step(x))
        return x


class Cells(nn.Module):
    """A cell of one's own along the rows of a picture: torch's scan."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.stem(x).mean(3).transpose(1, 2)

        def cell(state: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
            state = torch.tanh(state + row)
            return state, 2 * state

        return torch._higher_order_ops.scan(cell, rows.new_zeros(rows.shape[0], rows.shape[2]), rows, dim=1)[1]


# -- exports -----------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Network:
    """How a network is made and fed: one input called x; `dynamic` names axes of it whose size is left open.
    `first` is the first opset that the exporters can write it for, where that is not their own first one. Where there
    is control flow, which tracing would not see, the exporter of TorchScript gets `scripted` as a script. Only
    `exporters` can write it."""

    make: Callable[[], nn.Module]
    x: Callable[[], Tensor]
    dynamic: dict[int, str] = field(default_factory=dict)
    outputs: Sequence[str] = ("y",)
    first: int = 11
    scripted: Callable[[], nn.Module] | None = None
    exporters: Sequence[str] = ("torchscript", "dynamo")


def _random(*shape: int) -> Callable[[], Tensor]:
    return lambda: torch.randn(shape)


NETWORKS = {
    "detector": Network(Detector, _random(1, 3, 32, 32), outputs=("boxes", "scores", "moved", "masks")),
    "lstm": Network(lambda: Recurrent(nn.LSTM), _random(2, 7, 6), {0: "batch"}),
    "gru": Network(lambda: Recurrent(nn.GRU), _random(2, 7, 6), {0: "batch"}),
    "encoder": Network(Encoder, lambda: torch.randint(0, 11, (2, 9)), {0: "batch"}, first=14),
    "vit": Network(ViT, _random(2, 3, 32, 32), {0: "batch"}, first=14),
    "resnet3d": Network(ResNet3d, _random(1, 3, 4, 16, 16), {0: "batch"}),
    "unet": Network(UNet, _random(1, 3, 20, 28), {2: "height", 3: "width"}),
    "branches": Network(Branches, _random(2, 3, 12, 10), {0: "batch"}, scripted=ScriptedBranches),
    "refine": Network(Refine, _random(2, 3, 12, 10), {0: "batch"}, scripted=ScriptedRefine),
    "repeat": Network(Repeat, _random(2, 3, 12, 10), {0: "batch"}, scripted=Repeat, exporters=("torchscript",)),
    "cells": Network(Cells, _random(2, 3, 12, 10), {0: "batch"}, exporters=("dynamo",)),
    "channels_last": Network(ChannelsLast, _random(1, 16, 20, 3), {0: "batch"}),
}


def module(name: str, make: Callable[[], nn.Module] | None = None) -> tuple[nn.Module, Tensor]:
    """The network with its seeded weights, and an input for it; `make` makes another form of it."""
    torch.manual_seed(7)
    network = NETWORKS[name]
    made = (make or network.make)().eval()
    for layer in made.modules():
        if isinstance(layer, (nn.BatchNorm2d, nn.BatchNorm3d)):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
    return made, network.x()


def by_tracing(name: str, opset: int) -> bytes:
    """By the exporter of TorchScript."""
    network, file = NETWORKS[name], io.BytesIO()
    made, x = module(name, network.scripted)
    for symbolic, operator in ((_nms_symbolic, "nms"), (_roi_align_symbolic, "roi_align")):
        torch.onnx.register_custom_op_symbolic(f"cnncc_tests::{operator}", symbolic, opset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if network.scripted is not None:
            made = torch.jit.script(made)
        torch.onnx.export(made, (x,), file, opset_version=opset, dynamo=False, input_names=["x"],
                          output_names=list(network.outputs),
                          dynamic_axes={"x": network.dynamic} if network.dynamic else None)
    return file.getvalue()


def by_torch_export(name: str, opset: int) -> bytes:
    """By the exporter of torch.export."""
    network, (made, x) = NETWORKS[name], module(name)
    shapes = {"x": {axis: torch.export.Dim(size, min=2, max=64) for axis, size in network.dynamic.items()}}
    if network.dynamic.get(0) == "batch" and x.shape[0] == 1:
        x = torch.cat([x, x])  # a size of 1 would be taken for a constant
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            made, (x,), opset_version=opset, dynamo=True, verbose=False, input_names=["x"],
            output_names=list(network.outputs), dynamic_shapes=(shapes["x"],) if network.dynamic else None,
            custom_translation_table=_translations())
    assert program is not None
    return bytes(program.model_proto.SerializeToString())


# name -> (export, first opset, newest one)
EXPORTERS: dict[str, tuple[Callable[[str, int], bytes], int, int]] = {
    "torchscript": (by_tracing, 11, 20),
    "dynamo": (by_torch_export, 18, 23),
}


def opsets(name: str, exporter: str) -> list[int]:
    """The opsets that a network is exported in: the first, the newest and, where that is quick, some between."""
    _, first, newest = EXPORTERS[exporter]
    if exporter not in NETWORKS[name].exporters:
        return []
    chosen = {"torchscript": (11, 13, 14, 17, 20), "dynamo": (18, 23)}[exporter]
    return [o for o in chosen if max(first, NETWORKS[name].first) <= o <= newest]


def export(name: str, exporter: str, opset: int) -> bytes:
    """The network as an ONNX model."""
    return EXPORTERS[exporter][0](name, opset)
