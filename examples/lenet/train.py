"""Trains LeNet-5 on scikit-learn's digits and writes `lenet5.onnx`, `digits.npz` and `digit.png` beside this file.

    pip install -e .[train]
    python examples/lenet/train.py

Data: the 1797 digits of the UCI "Optical Recognition of Handwritten Digits" test set, 8x8 pixels with values 0 to 16
(`sklearn.datasets.load_digits`). A quarter of them, 450, stratified by class, is held back by
`train_test_split(test_size=0.25, random_state=0)`; training never sees it, and the epoch count is fixed in advance.

Network: LeNet-5 of LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, in its usual modern
form (full connections between the two convolutions, ReLU, max pooling): 61,706 parameters, input [N, 1, 32, 32] in
[0, 1]. The 8x8 pictures are enlarged four times by repeating pixels (`digits.enlarge`).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import torch
from digits import enlarge
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

HERE = Path(__file__).parent
EPOCHS, BATCH, LEARNING_RATE, SEED = 60, 64, 2e-3, 0
PARAMETERS = 61_706


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(),
        nn.Linear(120, 84), nn.ReLU(),
        nn.Linear(84, 10))


def augment(x: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Each picture turned by up to 12 degrees, scaled by up to 12 % and shifted by up to 3 pixels."""
    def uniform(limit: float) -> torch.Tensor:
        return (torch.rand(len(x), generator=random) * 2 - 1) * limit

    angle, scale = uniform(math.radians(12)), 1 + uniform(0.12)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    shift_x, shift_y = uniform(3 / 16), uniform(3 / 16)
    theta = torch.stack([torch.stack([cos, -sin, shift_x], 1), torch.stack([sin, cos, shift_y], 1)], 1)
    grid = nn.functional.affine_grid(theta, list(x.shape), align_corners=False)
    return nn.functional.grid_sample(x, grid, align_corners=False)


def train(x: torch.Tensor, y: torch.Tensor) -> nn.Sequential:
    """The network after EPOCHS passes over x [n, 1, 32, 32] and labels y [n]."""
    torch.manual_seed(SEED)
    random = torch.Generator().manual_seed(SEED)
    model = network()
    steps = EPOCHS * math.ceil(len(x) / BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x), generator=random).split(BATCH):
            loss = nn.functional.cross_entropy(model(augment(x[batch], random)), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def to_onnx(model: nn.Sequential) -> onnx.ModelProto:
    """The ONNX model: input `image` [N, 1, 32, 32], output `scores` [N, 10] (before softmax)."""
    names = {0: "conv1", 3: "conv2", 7: "fc1", 9: "fc2", 11: "fc3"}
    weights = {f"{names[int(i)]}.{kind}": p.detach().numpy()
               for i, kind, p in ((*k.split("."), p) for k, p in model.named_parameters())}

    def layer(op: str, name: str, x: str, y: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(op, [x, f"{name}.weight", f"{name}.bias"], [y], name=name, **attributes)

    def node(op: str, name: str, x: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(op, [x], [name], name=name, **attributes)

    nodes = [
        layer("Conv", "conv1", "image", "conv1", kernel_shape=[5, 5]),
        node("Relu", "relu1", "conv1"),
        node("MaxPool", "pool1", "relu1", kernel_shape=[2, 2], strides=[2, 2]),
        layer("Conv", "conv2", "pool1", "conv2", kernel_shape=[5, 5]),
        node("Relu", "relu2", "conv2"),
        node("MaxPool", "pool2", "relu2", kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", "flat", "pool2"),
        layer("Gemm", "fc1", "flat", "fc1", transB=1),
        node("Relu", "relu3", "fc1"),
        layer("Gemm", "fc2", "relu3", "fc2", transB=1),
        node("Relu", "relu4", "fc2"),
        layer("Gemm", "fc3", "relu4", "scores", transB=1),
    ]
    graph = helper.make_graph(
        nodes, "lenet5",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 32, 32])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(w, name) for name, w in weights.items()])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
                              producer_name="cnncc examples/lenet/train.py")
    onnx.checker.check_model(proto, full_check=True)
    return proto


def main() -> None:
    torch.use_deterministic_algorithms(True)
    images, labels = load_digits(return_X_y=True)
    images, labels = images.reshape(-1, 8, 8).astype(np.uint8), labels.astype(np.uint8)
    seen, held_back, seen_labels, held_back_labels = train_test_split(
        images, labels, test_size=0.25, random_state=0, stratify=labels)
    model = train(torch.from_numpy(enlarge(seen)), torch.from_numpy(seen_labels.astype(np.int64)))
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS
    with torch.no_grad():
        guess = model(torch.from_numpy(enlarge(held_back))).argmax(1).numpy()
    print(f"{(guess == held_back_labels).mean():.2%} of {len(guess)} held-back digits are recognised")
    onnx.save(to_onnx(model), HERE / "lenet5.onnx")
    np.savez_compressed(HERE / "digits.npz", images=held_back, labels=held_back_labels)
    Image.fromarray((enlarge(held_back)[0, 0] * 255).round().astype(np.uint8)).save(HERE / "digit.png")


if __name__ == "__main__":
    main()
