"""fuse_pad: convolutions and pools pad their input themselves."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ..errors import OpError
from ..ir import Graph, Node, Op, Value
from .matching import activation_of, constant_of, known_ints

__all__ = ["fuse_pad"]


def fuse_pad(graph: Graph) -> bool:
    """Constant padding of spatial axes goes into the `pads` of the Conv or pool that reads it.

        %0 = Pad(%x, const [0,0,1,1,0,0,1,1])
        %1 = Conv(%0, %w)
    becomes
        %1 = Conv(%x, %w) {pads=[1,1,1,1]}

    A Conv pads with zeros; an AveragePool too, if the zeros count (count_include_pad, which a pool without pads of its
    own gets here); a MaxPool pads with -inf, for which zeros do where no window reads padding only and no value of %x
    is negative. Other readers of the Pad may keep it.
    """
    changed = False
    for node in graph.nodes:
        pad = node.inputs[0].producer if node.inputs and node.inputs[0] is not None else None
        if pad is None or pad.op.op_type != "Pad" or len(node.outputs) != 1 or node.op.op_type not in _ACCEPTS:
            continue
        op = _padded(node, pad)
        if op is not None:
            graph.replace_node(node, op, [pad.inputs[0], *node.inputs[1:]])
            if not pad.output.uses and not graph.is_output(pad.output):
                graph.remove_node(pad)
            changed = True
    if changed:
        graph.drop_unused_constants()
    return changed


def _padded(node: Node, pad: Node) -> Op | None:
    """The node's operator with the pads of `pad` added to its own, or None."""
    amounts, op, source = _spatial_pads(pad), _without_auto_pad(node.op), pad.inputs[0]
    if amounts is None or op is None or source is None:
        return None
    changes = _ACCEPTS[op.op_type](op, source, _fill(pad))
    if changes is None:
        return None
    total = tuple(p + q for p, q in zip(op.pads or (0,) * len(amounts), amounts, strict=True))
    try:
        padded: Op = dataclasses.replace(op, pads=total, **changes)
        types = padded.infer(source.operand, *(None if v is None else v.operand for v in node.inputs[1:]))
    except OpError:  # the pads are as wide as the window
        return None
    return padded if types[0] == node.output.type else None


def _spatial_pads(pad: Node) -> tuple[int, ...] | None:
    """Begins, then ends, of the spatial axes; None where they are unknown or negative or another axis is padded."""
    op: Any = pad.op
    rank = pad.output.type.rank
    amounts = known_ints(pad.inputs[1])
    axes_operand = pad.inputs[3] if len(pad.inputs) > 3 else None
    axes = known_ints(axes_operand) if axes_operand is not None else tuple(range(rank))
    if op.mode != "constant" or amounts is None or axes is None or rank < 3:
        return None
    full = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        full[axis % rank] += amounts[i]
        full[axis % rank + rank] += amounts[i + len(axes)]
    if min(full) < 0 or any(full[:2]) or any(full[rank:rank + 2]):
        return None
    return (*full[2:rank], *full[rank + 2:])


def _fill(pad: Node) -> float | None:
    """The value that is padded with; None where it is not constant."""
    value = pad.inputs[2] if len(pad.inputs) > 2 else None
    if value is None:
        return 0.0
    contents = constant_of(value)
    return None if contents is None else float(contents.reshape(()))


def _without_auto_pad(op: Any) -> Any:
    """The operator with `pads` that stand for themselves; None where they depend on the size of the input."""
    if op.auto_pad == "VALID":
        return dataclasses.replace(op, auto_pad="NOTSET", pads=())
    return op if op.auto_pad == "NOTSET" else None


def _conv(op: Any, source: Value, fill: float | None) -> dict[str, Any] | None:
    return {} if fill == 0 else None


def _average_pool(op: Any, source: Value, fill: float | None) -> dict[str, Any] | None:
    # With ceil_mode the windows that hang over the end are counted against the padded size, which changes.
    if fill != 0 or op.ceil_mode or (any(op.pads) and not op.count_include_pad):
        return None
    return {"count_include_pad": True}


def _max_pool(op: Any, source: Value, fill: float | None) -> dict[str, Any] | None:
    # With ceil_mode the last window may start in the padding, which would then no longer be input.
    if op.ceil_mode:
        return None
    # A pool's pads are smaller than its window, so that without dilation each window reads an element of the input.
    harmless = fill == 0 and all(d == 1 for d in op.dilations) and _is_non_negative(source)
    return {} if fill == -math.inf or harmless else None


# What else changes in each operator that takes the pads over; None where it cannot.
_ACCEPTS = {"AveragePool": _average_pool, "Conv": _conv, "MaxPool": _max_pool}


_NON_NEGATIVE = ("relu", "sigmoid", "hard_sigmoid", "softplus")
_KEEPS_SIGN = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")
_MAX_STEPS = 4


def _is_non_negative(value: Value) -> bool:
    """Whether no element can be negative, because an activation a few nodes before sees to it."""
    node = value.producer
    for _ in range(_MAX_STEPS):
        if node is None or not node.inputs or node.inputs[0] is None:
            return False
        activation = activation_of(node) or getattr(node.op, "activation", None)
        if activation is not None:
            lowest = activation.parameters[0] if activation.kind == "clip" else -math.inf
            return activation.kind in _NON_NEGATIVE or lowest >= 0
        if node.op.op_type not in _KEEPS_SIGN and not node.op.alias:
            return False
        node = node.inputs[0].producer
    return False
