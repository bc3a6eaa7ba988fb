"""fuse_depthwise: what a 1x1 convolution gives goes to the depthwise one behind it without being stored."""

from __future__ import annotations

from ..ir import DType, Graph, Node
from ..ops.conv import Conv
from ..ops.pointwise_depthwise import PointwiseDepthwiseConv
from .matching import constant_of, is_private

__all__ = ["fuse_depthwise"]

# Where it pays, as measured in networks. With more channels before the first convolution, arithmetic outweighs what is
# not stored; a smaller picture between the two stays in a cache anyway, and of a larger one a few rows do not.
MOST_CHANNELS, LEAST_GROWTH = 32, 2
SIZES = range(28, 513)
KERNELS, STRIDES = ((3, 3), (5, 5)), ((), (1, 1), (2, 2))


def fuse_depthwise(graph: Graph) -> bool:
    """A 1x1 Conv that only a depthwise Conv reads becomes one operator with it.

        %0 = Conv(%x, %w, %b) {activation=relu}
        %1 = Conv(%0, %v, %d) {group=96, pads=[1,1,1,1], activation=relu}
    becomes
        %1 = PointwiseDepthwiseConv(%x, %w, %v, %b, %d) {activation=relu, inner=relu, pads=[1,1,1,1]}

    Where that pays: the first makes at least twice as many channels from few, the second has 3x3 or 5x5 taps and
    strides of 1 or 2, and pictures of f32 are large, their sizes known. Not where %0 is an output or read by others,
    with dilations or residuals, nor where weights are not constant.
    """
    changed = False
    for node in graph.nodes:
        middle = node.inputs[0] if isinstance(node.op, Conv) else None
        first = None if middle is None else middle.producer
        if middle is None or first is None or not is_private(graph, middle) or not _fits(first, node):
            continue
        assert isinstance(first.op, Conv) and isinstance(node.op, Conv)
        (x, w, b), (_, v, d) = ([*one.inputs, None][:3] for one in (first, node))
        op = PointwiseDepthwiseConv(activation=node.op.activation, inner=first.op.activation, pads=node.op.pads,
                                    strides=node.op.strides)
        inputs = [x, w, v, b, d]
        while inputs[-1] is None:
            inputs.pop()
        graph.replace_node(node, op, inputs, name=node.name or first.name)
        graph.remove_node(first)
        changed = True
    return changed


def _fits(first: Node, second: Node) -> bool:
    return _is_plain(first) and _is_plain(second) and _is_pointwise(first) and _pays(first, second)


def _is_plain(node: Node) -> bool:
    """A convolution of f32 pictures with constants and without a residual."""
    if not isinstance(node.op, Conv):
        return False
    x, w, b, r = [*node.inputs, None, None][:4]
    return (x is not None and x.type.rank == 4 and x.type.dtype is DType.F32
            and node.op.auto_pad == "NOTSET" and constant_of(w) is not None and r is None
            and (b is None or constant_of(b) is not None))


def _is_pointwise(node: Node) -> bool:
    assert isinstance(node.op, Conv) and node.inputs[1] is not None
    op, kernel = node.op, node.inputs[1].type.shape[2:]
    return op.group == 1 and kernel == (1, 1) and not any(op.pads) and all(s == 1 for s in op.strides)


def _pays(first: Node, second: Node) -> bool:
    assert isinstance(second.op, Conv) and first.inputs[0] is not None and second.inputs[1] is not None
    op, v = second.op, second.inputs[1].type.shape
    side, channels, middle = v[2], first.inputs[0].type.shape[1], first.output.type.shape
    return (isinstance(channels, int) and channels <= MOST_CHANNELS and op.group >= LEAST_GROWTH * channels
            and middle[1] == op.group and v[:2] == (op.group, 1) and all(size in SIZES for size in middle[2:])
            and v[2:] in KERNELS and op.strides in STRIDES and all(d == 1 for d in op.dilations)
            and isinstance(side, int) and max(op.pads, default=0) < side)
