"""MaxUnpool, Col2Im and CenterCropPad against onnx and onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from cnncc.errors import OpError
from cnncc.ir import DType, Op, Operand
from cnncc.ops.pool import MaxPool
from cnncc.ops.unfold import CenterCropPad, Col2Im, MaxUnpool

from .cases import Case, assert_refused, check, check_half, inferred, normal, operand, trials

ONNX_SHAPE = {"onnx": "its reference numbers the places within the shape that it would infer without output_shape"}


def unpooled(shape: tuple[int, ...], kernel: tuple[int, ...], given: bool = False, **attributes: Any) -> Case:
    """The inverse of a MaxPool of an input of this shape."""
    x = normal(*shape)
    y, index = MaxPool(kernel, **attributes).reference(x)
    inputs = (y, index, np.array(shape)) if given else (y, index)
    return Case(MaxUnpool(kernel, **attributes), inputs, constants=(2,), dtypes=(DType.F32,),
                skip=ONNX_SHAPE if given else {})


def folded(x: tuple[int, ...], image: Sequence[int], block: Sequence[int], **attributes: Any) -> Case:
    return Case(Col2Im(**attributes), (normal(*x), np.array(image), np.array(block)), constants=(1, 2))


def centred(shape: tuple[int, ...], sizes: Sequence[int], dtype: Any = np.float32, **attributes: Any) -> Case:
    return Case(CenterCropPad(**attributes), (normal(*shape).astype(dtype), np.array(sizes)), constants=(1,))


CASES = [
    unpooled((2, 3, 6, 8), (2, 2), strides=(2, 2)),
    unpooled((1, 2, 9), (3,), strides=(3,)),
    unpooled((1, 2, 4, 4, 4), (2, 2, 2), strides=(2, 2, 2)),
    unpooled((1, 2, 6, 6), (4, 4), strides=(2, 2), pads=(1, 1, 1, 1)),
    unpooled((1, 2, 7, 5), (2, 2), given=True, strides=(2, 2)),
    folded((2, 12, 12), (4, 5), (2, 2)),
    folded((1, 12, 9), (5, 5), (2, 2), strides=(2, 2), pads=(1, 1, 0, 0)),
    folded((1, 6, 20), (5, 6), (2, 3), dilations=(2, 1), pads=(0, 1, 1, 0)),
    folded((1, 16, 8), (3, 3, 3), (2, 2, 2)),
    centred((10, 7, 3), (7, 10, 3)),
    centred((10, 8, 3), (4, 9, 4)),
    centred((2, 5, 6, 7), (8, 3), axes=(-1, 1)),
    centred((2, 20, 5, 6), (8, 3), axes=(2, 3)),
    centred((4, 5), (5, 4), np.uint8),
]


@pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
    check(case, judge, dtype)


def test_half() -> None:
    for case in (CASES[0], CASES[5], CASES[9]):
        check_half(case)


def test_a_place_that_is_not_there() -> None:
    with pytest.raises(OpError, match="MaxUnpool: the place 4 is outside an output of 4 elements"):
        MaxUnpool((2,), strides=(2,)).reference(normal(1, 1, 2), np.array([[[0, 4]]]))


@pytest.mark.parametrize(("op", "operands", "types"), [
    (MaxUnpool((2, 2), strides=(2, 2)), ["f32[N,C,H,W]", "i64[N,C,H,W]"], "f32[N,C,2*H,2*W]"),
    (MaxUnpool((2,), strides=(2,)), ["f32[N,C,L]", "i64[N,C,L]", operand("i64[3]", (1, 2, 9))], "f32[1,2,9]"),
    (Col2Im(), ["f32[N,12,9]", operand("i64[2]", (4, 4)), operand("i64[2]", (2, 2))], "f32[N,3,4,4]"),
    (CenterCropPad(axes=(-1,)), ["f32[N,C,H]", operand("i64[1]", (5,))], "f32[N,C,5]"),
])
def test_infer(op: Op, operands: list[str | Operand | None], types: str) -> None:
    assert inferred(op, *operands) == types


@pytest.mark.parametrize(("make", "operands", "message"), [
    (lambda: MaxUnpool((0,)), [], "MaxUnpool: kernel_shape must be at least 1, not [0]"),
    (lambda: MaxUnpool((2, 2)), ["f32[1,1,4]", "i64[1,1,4]"], "MaxUnpool: X must be [N, C, *spatial] with one axis"),
    (lambda: MaxUnpool((2,)), ["f32[1,1,4]", "i64[1,1,4]", operand("i64[2]", (1, 9))],
     "MaxUnpool: output_shape must be [N, C, *spatial] like X f32[1,1,4], not [1, 9]"),
    (Col2Im, ["f32[1,12,9]", operand("i64[2]", (4, 4)), operand("i64[3]", (2, 2, 1))],
     "Col2Im: the input must be [N, C * block, blocks], image_shape and block_shape of one length"),
    (Col2Im, ["f32[1,12,8]", operand("i64[2]", (4, 4)), operand("i64[2]", (2, 2))],
     "Col2Im: an image of [4, 4] has 9 blocks of 4 elements, which does not fit the input f32[1,12,8]"),
    (CenterCropPad, ["f32[4,4]", operand("i64[1]", (3,))],
     "CenterCropPad: shape has 1 numbers, but there are 2 axes"),
])
def test_wrong_input(make: Callable[[], Op], operands: list[str | Operand | None], message: str) -> None:
    assert_refused(make, operands, message)


def test_shapes_that_only_the_data_tell() -> None:
    """Through a session: the step is bound when its shape has been read."""
    import cnncc
    from cnncc.ir import Graph, parse_type

    graph = Graph("net")
    x, index, shape = (graph.add_input(name, parse_type(text)) for name, text in
                       (("x", "f32[1,1,2,2]"), ("i", "i64[1,1,2,2]"), ("shape", "i64[4]")))
    unpooled = graph.add_node(MaxUnpool((2, 2), strides=(2, 2)), [x, index, shape])
    cut = graph.add_node(CenterCropPad(), [unpooled.output, shape])
    graph.set_outputs([cut.output], ["y"])
    feeds = {"x": normal(1, 1, 2, 2), "i": np.array([[[[0, 3], [12, 19]]]]), "shape": np.array((1, 1, 5, 4))}
    [expected] = MaxUnpool((2, 2), strides=(2, 2)).reference(*feeds.values())
    [got] = cnncc.InferenceSession(cnncc.compile(graph, warm=False)).run(None, feeds)
    np.testing.assert_array_equal(got, expected)
