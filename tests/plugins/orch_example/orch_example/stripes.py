"""A data set: 256 images of stripes, made on the spot; the label is their direction."""

from pathlib import Path
from typing import TYPE_CHECKING

from engine.data.base import Dataset, Split

if TYPE_CHECKING:
    from torch import Tensor


def load(root: Path, split: Split) -> "tuple[Tensor, Tensor]":
    """Upright stripes for even images, level ones for odd; their grey level rises from image to image."""
    import torch

    numbers = torch.arange(256)
    stripes = (torch.arange(8) % 2).expand(8, 8)
    images = torch.stack([stripes.T if number % 2 else stripes for number in numbers])
    grey = (128 + numbers // 2).reshape(-1, 1, 1)
    return (images * grey).to(torch.uint8)[:, None], numbers % 2


STRIPES = Dataset(name="stripes", channels=1, resolution=8, num_images=256, num_classes=2, load=load)
