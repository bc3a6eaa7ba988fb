"""Costs from types: counted by hand."""

import pytest

from cnncc.costs import cost
from cnncc.ir import DType, TensorType, evaluate_dim, parse_type, symbol
from cnncc.ops import OPS


def f32(*shape) -> TensorType:
    return TensorType(DType.F32, shape)


@pytest.mark.parametrize(("op", "inputs", "outputs", "macs"), [
    (OPS["Conv"](), [f32(1, 3, 8, 8), f32(4, 3, 3, 3)], [f32(1, 4, 6, 6)], 4 * 36 * 27),
    (OPS["Conv"](group=4), [f32(2, 4, 8, 8), f32(8, 1, 3, 3)], [f32(2, 8, 6, 6)], 2 * 8 * 36 * 9),
    (OPS["PointwiseDepthwiseConv"](strides=(2, 2)), [f32(2, 3, 9, 9), f32(8, 3, 1, 1), f32(8, 1, 3, 3)],
     [f32(2, 8, 4, 4)], 2 * (8 * 81 * 3 + 8 * 16 * 9)),
    (OPS["ConvTranspose"](), [f32(1, 3, 5, 5), f32(3, 4, 2, 2)], [f32(1, 4, 6, 6)], 3 * 25 * 4 * 4),
    (OPS["Gemm"](transA=1), [f32(7, 2), f32(7, 5)], [f32(2, 5)], 2 * 7 * 5),
    (OPS["MatMul"](), [f32(3, 2, 7), f32(7, 5)], [f32(3, 2, 5)], 3 * 2 * 7 * 5),
    (OPS["Relu"](), [f32(2, 3)], [f32(2, 3)], 0),
])  # fmt: skip
def test_by_hand(op, inputs, outputs, macs: int) -> None:
    found = cost(op, inputs, outputs)
    assert (found.macs, found.flops) == (macs, 2 * macs)
    assert found.bytes == 4 * sum(_elements(t) for t in inputs + outputs)


def _elements(type_: TensorType) -> int:
    count = 1
    for d in type_.shape:
        count *= d
    return count


def test_absent_operands_and_views() -> None:
    assert cost(OPS["Conv"](), [f32(1, 1, 1, 1), f32(1, 1, 1, 1), None], [f32(1, 1, 1, 1)]).bytes == 12
    reshape = cost(OPS["Reshape"](), [f32(2, 3), parse_type("i64[1]")], [f32(6)])
    assert (reshape.macs, reshape.bytes) == (0, 0)


def test_a_gather_reads_what_it_gives() -> None:
    found = cost(OPS["Gather"](axis=0), [f32(1000, 8), parse_type("i64[2]")], [f32(2, 8)])
    assert found.bytes == 2 * 2 * 8 * 4 + 16


def test_symbolic_sizes() -> None:
    n = symbol("N")
    found = cost(OPS["Gemm"](), [f32(n, 4), f32(4, 5)], [f32(n, 5)])
    assert evaluate_dim(found.macs, {"N": 3}) == 60
    assert evaluate_dim(found.bytes, {"N": 3}) == 4 * (12 + 20 + 15)
