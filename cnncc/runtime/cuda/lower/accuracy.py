"""What each accuracy allows on a GPU: the CPU's, and `tf32`, which allows tensor cores besides."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...cpu.lower import accuracy as cpu

__all__ = ["ACCURACIES", "TF32", "allowed_forms"]

TF32 = "tf32"
ACCURACIES = (*cpu.ACCURACIES, TF32)


def allowed_forms(accuracy: str, w: np.ndarray[Any, Any]) -> frozenset[int | str]:
    """How a convolution with these weights may be computed besides as a direct sum in float32: the m of F(m,3), and
    TF32."""
    if accuracy == TF32:
        return frozenset({TF32, *cpu.allowed_forms("fast", w)})
    return frozenset(cpu.allowed_forms(accuracy, w))
