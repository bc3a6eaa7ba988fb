"""NonMaxSuppression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DType, Op, Operand, TensorType, unknown
from .dtypes import check_dtype
from .sizes import agree

__all__ = ["NonMaxSuppression"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class NonMaxSuppression(Op):
    """ONNX NonMaxSuppression-11: of boxes [N, S, 4] with scores [N, C, S], the picture, class and number of those that
    are kept, [K, 3].

    For each picture and class boxes are gone through in the order of their scores, the first of equals first, and kept
    unless one that was kept before covers them: their intersection over union is greater than iou_threshold (0).
    Boxes whose score is not above score_threshold, if that is given, are left out; at most max_output_boxes_per_class
    (0) are kept. A box is two opposite corners y, x, y, x, or with center_point_box its centre x, y, width and height.
    """

    since = 11
    operands = ("boxes", "scores", "max_output_boxes_per_class?", "iou_threshold?", "score_threshold?")
    results = ("selected_indices",)

    center_point_box: bool = False

    def infer(self, boxes: Operand, scores: Operand, most: Operand | None = None, overlap: Operand | None = None,
              least: Operand | None = None) -> tuple[TensorType, ...]:
        check_dtype("NonMaxSuppression", "boxes", boxes, (DType.F32,))
        check_dtype("NonMaxSuppression", "scores", scores, (DType.F32,))
        fits = boxes.type.rank == scores.type.rank == 3 and boxes.type.shape[2] == 4 \
            and agree((boxes.type.shape[0], scores.type.shape[0])) is not None \
            and agree((boxes.type.shape[1], scores.type.shape[2])) is not None
        if not fits:
            raise OpError(f"NonMaxSuppression: boxes must be [N, S, 4] and scores [N, C, S], not {boxes.type} and "
                          f"{scores.type}")
        for name, o, dtype in (("max_output_boxes_per_class", most, DType.I64), ("iou_threshold", overlap, DType.F32),
                               ("score_threshold", least, DType.F32)):
            if o is not None and (o.type.dtype is not dtype or o.type.size != 1):
                raise OpError(f"NonMaxSuppression: {name} must be one {dtype.value}, not {o.type}")
        return (TensorType(DType.I64, (unknown("count"), 3)),)

    def reference(self, boxes: Array, scores: Array, most: Array | None = None, overlap: Array | None = None,
                  least: Array | None = None) -> tuple[Array, ...]:
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
            found += [(picture, label, box) for box in kept]
        return (np.array(found, np.int64).reshape(-1, 3),)

    def _corners(self, boxes: Array) -> Array:
        """Boxes as their least and greatest coordinate on either axis: [N, S, 2, 2]."""
        if self.center_point_box:
            centre, half = boxes[..., :2], boxes[..., 2:] / np.float32(2)
            return np.stack([centre - half, centre + half], -2)
        pairs = boxes.reshape(*boxes.shape[:2], 2, 2)
        return np.stack([pairs.min(-2), pairs.max(-2)], -2)


def _overlap(a: Array, b: Array) -> Any:
    """Intersection over union of two boxes; 0 where either has no area."""
    sides = np.minimum(a[1], b[1]) - np.maximum(a[0], b[0])
    if not (sides > 0).all():
        return np.float32(0)
    shared, area, other = sides[0] * sides[1], np.prod(a[1] - a[0]), np.prod(b[1] - b[0])
    union = area + other - shared
    return shared / union if shared > 0 and area > 0 and other > 0 and union > 0 else np.float32(0)
