"""NonMaxSuppression, and the two steps in which it runs natively: SuppressBoxes and ListBoxes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, DType, Op, Operand, TensorType, unknown
from ..records import record
from .dtypes import check_dtype
from .sizes import agree, product, smaller

__all__ = ["ListBoxes", "NonMaxSuppression", "SuppressBoxes"]

Array = np.ndarray[Any, Any]


@record
class _Suppression(Op):
    """What NonMaxSuppression and SuppressBoxes share: their operands, and which boxes are kept."""

    operands = ("boxes", "scores", "max_output_boxes_per_class?", "iou_threshold?", "score_threshold?")

    center_point_box: bool = False

    def check_operands(self, boxes: Operand, scores: Operand, most: Operand | None, overlap: Operand | None,
                       least: Operand | None) -> None:
        name = self.op_type
        check_dtype(name, "boxes", boxes, (DType.F32,))
        check_dtype(name, "scores", scores, (DType.F32,))
        fits = boxes.type.rank == scores.type.rank == 3 and boxes.type.shape[2] == 4 \
            and agree((boxes.type.shape[0], scores.type.shape[0])) is not None \
            and agree((boxes.type.shape[1], scores.type.shape[2])) is not None
        if not fits:
            raise OpError(f"{name}: boxes must be [N, S, 4] and scores [N, C, S], not {boxes.type} and {scores.type}")
        for operand, o, dtype in (("max_output_boxes_per_class", most, DType.I64),
                                  ("iou_threshold", overlap, DType.F32), ("score_threshold", least, DType.F32)):
            if o is not None and (o.type.dtype is not dtype or o.type.size != 1):
                raise OpError(f"{name}: {operand} must be one {dtype.value}, not {o.type}")

    def kept(self, boxes: Array, scores: Array, most: Array | None, overlap: Array | None,
             least: Array | None) -> list[tuple[int, int, list[int]]]:
        """(picture, class, the boxes that are kept in the order of their scores) for each class of each picture."""
        limit = 0 if most is None else int(most.ravel()[0])
        threshold = np.float32(0) if overlap is None else overlap.ravel()[0]
        corners = self._corners(boxes)
        found = []
        for picture, label in np.ndindex(scores.shape[:2]):
            kept: list[int] = []
            row = scores[picture, label]
            for box in np.argsort(-row, kind="stable"):
                if len(kept) >= limit or (least is not None and not row[box] > least.ravel()[0]):
                    break
                if not any(_overlap(corners[picture, box], corners[picture, k]) > threshold for k in kept):
                    kept.append(int(box))
            found.append((picture, label, kept))
        return found

    def _corners(self, boxes: Array) -> Array:
        """Boxes as their least and greatest coordinate on either axis: [N, S, 2, 2]."""
        if self.center_point_box:
            centre, half = boxes[..., :2], boxes[..., 2:] / np.float32(2)
            return np.stack([centre - half, centre + half], -2)
        pairs = boxes.reshape(*boxes.shape[:2], 2, 2)
        return np.stack([pairs.min(-2), pairs.max(-2)], -2)


@record
class NonMaxSuppression(_Suppression):
    """ONNX NonMaxSuppression-11: of boxes [N, S, 4] with scores [N, C, S], the picture, class and number of those that
    are kept, [K, 3].

    For each picture and class boxes are gone through in the order of their scores, the first of equals first, and kept
    unless one that was kept before covers them: their intersection over union is greater than iou_threshold (0).
    Boxes whose score is not above score_threshold, if that is given, are left out; at most max_output_boxes_per_class
    (0) are kept. A box is two opposite corners y, x, y, x, or with center_point_box its centre x, y, width and height.
    """

    since = 11
    results = ("selected_indices",)

    def infer(self, boxes: Operand, scores: Operand, most: Operand | None = None, overlap: Operand | None = None,
              least: Operand | None = None) -> tuple[TensorType, ...]:
        self.check_operands(boxes, scores, most, overlap, least)
        return (TensorType(DType.I64, (unknown("count"), 3)),)

    def reference(self, boxes: Array, scores: Array, most: Array | None = None, overlap: Array | None = None,
                  least: Array | None = None) -> tuple[Array, ...]:
        found = [(picture, label, box) for picture, label, kept in self.kept(boxes, scores, most, overlap, least)
                 for box in kept]
        return (np.array(found, np.int64).reshape(-1, 3),)


@record
class SuppressBoxes(_Suppression):
    """Of cnncc's own: the numbers of the boxes that NonMaxSuppression keeps, for each picture and class those of the
    best scores first and 0 behind them, `kept` [N, C, M], and how many there are, `counts` [N, C].

    M is the least of S and max_output_boxes_per_class, S where that is not known.
    """

    domain = "cnncc"
    results = ("kept", "counts")

    def infer(self, boxes: Operand, scores: Operand, most: Operand | None = None, overlap: Operand | None = None,
              least: Operand | None = None) -> tuple[TensorType, ...]:
        self.check_operands(boxes, scores, most, overlap, least)
        images, classes, count = scores.type.shape
        room: DimLike | None = count
        if most is None:
            room = 0
        elif most.value is not None:
            room = smaller(count, max(int(most.value.ravel()[0]), 0))
        shape = (images, classes, unknown("room") if room is None else room)
        return TensorType(DType.I64, shape), TensorType(DType.I64, shape[:2])

    def reference(self, boxes: Array, scores: Array, most: Array | None = None, overlap: Array | None = None,
                  least: Array | None = None) -> tuple[Array, ...]:
        limit = 0 if most is None else min(max(int(most.ravel()[0]), 0), scores.shape[2])
        kept = np.zeros((*scores.shape[:2], limit), np.int64)
        counts = np.zeros(scores.shape[:2], np.int64)
        for picture, label, boxes_kept in self.kept(boxes, scores, most, overlap, least):
            kept[picture, label, :len(boxes_kept)] = boxes_kept
            counts[picture, label] = len(boxes_kept)
        return kept, counts


@record
class ListBoxes(Op):
    """Of cnncc's own: what SuppressBoxes keeps as one list of picture, class and number, `selected` [N * C * M, 3] with
    0 behind the last, and the length of the list, `total` [1]."""

    domain = "cnncc"
    operands = ("kept", "counts")
    results = ("selected", "total")

    def infer(self, kept: Operand, counts: Operand) -> tuple[TensorType, ...]:
        for name, o in (("kept", kept), ("counts", counts)):
            check_dtype("ListBoxes", name, o, (DType.I64,))
        if kept.type.rank != 3 or counts.type.shape != kept.type.shape[:2]:
            raise OpError(f"ListBoxes: kept must be [N, C, M] and counts [N, C], not {kept.type} and {counts.type}")
        return TensorType(DType.I64, (product(kept.type.shape), 3)), TensorType(DType.I64, (1,))

    def reference(self, kept: Array, counts: Array) -> tuple[Array, ...]:
        found = [(picture, label, box) for picture, label in np.ndindex(counts.shape)
                 for box in kept[picture, label, :counts[picture, label]]]
        selected = np.zeros((kept.size, 3), np.int64)
        selected[:len(found)] = np.reshape(found, (-1, 3))
        return selected, np.array([len(found)])


def _overlap(a: Array, b: Array) -> Any:
    """Intersection over union of two boxes; 0 where either has no area."""
    sides = np.minimum(a[1], b[1]) - np.maximum(a[0], b[0])
    if not (sides > 0).all():
        return np.float32(0)
    shared, area, other = sides[0] * sides[1], np.prod(a[1] - a[0]), np.prod(b[1] - b[0])
    union = area + other - shared
    return shared / union if shared > 0 and area > 0 and other > 0 and union > 0 else np.float32(0)
