"""scikit-learn's digits: bundled with it, so they are always at hand."""

from pathlib import Path
from typing import TYPE_CHECKING

from engine.data.base import Dataset, Split

if TYPE_CHECKING:
    from torch import Tensor


def load(root: Path, split: Split) -> "tuple[Tensor, Tensor]":
    """scikit-learn's 8x8 digits; their 17 grey levels 0..16 are spread over 0..255."""
    import numpy as np
    import torch
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = np.rint(pixels * 255 / 16).astype(np.uint8)
    return torch.from_numpy(images).reshape(-1, 1, 8, 8), torch.from_numpy(labels)


DIGITS = Dataset(
    name="digits",
    position=1,
    channels=1,
    resolution=8,
    num_images=1_797,
    num_classes=10,
    load=load,
)
