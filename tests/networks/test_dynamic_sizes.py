"""Networks whose sizes a run tells, from shapes and from data, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from cnncc import InferenceSession, compile

Array = np.ndarray[Any, Any]


def random(*shape: int) -> Array:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


# Every other size of a skip connection does not fit what is upsampled: it is resized to the size of the skip.
UNET = """
net (float[N,3,H,W] x) => (float[N,4,H,W] y)
    <int64[4] s1 = {4,3,3,3}, int64[4] s2 = {8,4,3,3}, int64[4] s3 = {4,12,3,3}, int64[1] zero = {0},
     int64[1] two = {2}, int64[1] four = {4}> {
    w1 = ConstantOfShape<value = float[1] {0.1}>(s1)
    c1 = Conv<pads = [1,1,1,1]>(x, w1)
    d = MaxPool<kernel_shape = [2,2], strides = [2,2], ceil_mode = 1>(c1)
    w2 = ConstantOfShape<value = float[1] {0.05}>(s2)
    c2 = Conv<pads = [1,1,1,1]>(d, w2)
    shape = Shape(c1)
    size = Slice(shape, two, four)
    inner = Shape(c2)
    front = Slice(inner, zero, two)
    target = Concat<axis = 0>(front, size)
    up = Resize<mode = "linear">(c2, , , target)
    both = Concat<axis = 1>(up, c1)
    w3 = ConstantOfShape<value = float[1] {0.02}>(s3)
    y = Conv<pads = [1,1,1,1]>(both, w3)
}
"""

# Padded to the next multiple of 8, and cut back.
PADDED = """
net (float[1,1,H,W] x) => (float[1,1,H,W] y)
    <int64[1] two = {2}, int64[1] four = {4}, int64 eight = {8}, int64[6] before = {0,0,0,0,0,0}, int64[2] axes = {2,3},
     int64[2] start = {0,0}> {
    shape = Shape(x)
    size = Slice(shape, two, four)
    over = Mod(size, eight)
    lack = Sub(eight, over)
    rest = Mod(lack, eight)
    pads = Concat<axis = 0>(before, rest)
    p = Pad(x, pads)
    q = Relu(p)
    y = Slice(q, start, size, axes)
}
"""

# The ten best of the boxes above a threshold.
DETECTION = """
net (float[N,4] boxes, float[N] scores) => (float[k,4] best, int64[k] where)
    <float threshold = {0.0}, int64[1] ten = {10}, int64[1] zero = {0}> {
    m = Greater(scores, threshold)
    found = NonZero(m)
    index = Squeeze(found, zero)
    s = Gather(scores, index)
    b = Gather(boxes, index)
    n = Shape(s)
    k = Min(n, ten)
    v, i = TopK(s, k)
    best = Gather(b, i)
    where = Gather(index, i)
}
"""

# A picture enlarged by a number that comes with it.
ENLARGED = """
net (float[1,4,H,W] x, float factor) => (float[1,1,a,b] y)
    <int64[1] two = {2}, int64[1] four = {4}, int64[2] front = {1,1}> {
    d = DepthToSpace<blocksize = 2>(x)
    shape = Shape(d)
    size = Slice(shape, two, four)
    number = Cast<to = 1>(size)
    scaled = Mul(number, factor)
    whole = Floor(scaled)
    new = Cast<to = 7>(whole)
    target = Concat<axis = 0>(front, new)
    y = Resize<mode = "cubic">(d, , , target)
}
"""

NETWORKS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "unet": (UNET, [{"x": random(n, 3, h, w)} for n, h, w in ((1, 16, 16), (2, 17, 23), (1, 9, 30))]),
    "padded": (PADDED, [{"x": random(1, 1, h, w)} for h, w in ((16, 16), (17, 23), (9, 30))]),
    "detection": (DETECTION, [{"boxes": random(n, 4), "scores": random(n)} for n in (5, 40, 9)]),
    "enlarged": (ENLARGED, [{"x": random(1, 4, 8, 9), "factor": np.array(f, np.float32)} for f in (1.5, 0.7, 1.5)]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_against_onnxruntime(name: str) -> None:
    text, feeds = NETWORKS[name]
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    session = InferenceSession(compile(model, warm=False), threads=1)
    judge = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for feed in feeds:
        for found, wanted in zip(session.run(None, feed), judge.run(None, feed), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4, strict=True)
