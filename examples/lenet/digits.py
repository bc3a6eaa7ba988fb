"""The held-back digits, as LeNet-5 wants them and as a terminal shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
MODEL = HERE / "lenet5.onnx"


def load() -> tuple[np.ndarray, np.ndarray]:
    """The 450 held-back pictures, uint8 [450, 8, 8] with values 0 to 16, and their labels, uint8 [450]."""
    with np.load(HERE / "digits.npz") as data:
        return data["images"], data["labels"]


def enlarge(images: np.ndarray) -> np.ndarray:
    """Pictures [n, 8, 8] with values 0 to 16 as LeNet-5's input: float32 [n, 1, 32, 32] in [0, 1]."""
    large = images.repeat(4, axis=1).repeat(4, axis=2)
    return (large[:, None] / np.float32(16)).astype(np.float32)


def as_text(image: np.ndarray) -> list[str]:
    """One picture [8, 8] as 8 lines of 16 characters."""
    shades = " .:-=+*#%@"
    return ["".join(shades[min(int(v) * len(shades) // 17, 9)] * 2 for v in row) for row in image]
