"""CIFAR-10 [Krizhevsky 2009], in the files that its authors publish."""

from pathlib import Path
from typing import TYPE_CHECKING

from engine.data.base import DataNotFound, Dataset, Split

if TYPE_CHECKING:
    from torch import Tensor

BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")


def load(root: Path, split: Split) -> "tuple[Tensor, Tensor]":
    """CIFAR-10's 50,000 training images, or its 10,000 test images.

    Its files are pickles. torchvision checks each against the published MD5 before it unpickles any.
    """
    import torch
    from torchvision.datasets import CIFAR10 as Published

    try:
        data = Published(root, train=split == "train", download=False)
    except RuntimeError:
        raise DataNotFound(
            f"cifar10 in {root}: a file differs from its published MD5; download it again"
        ) from None
    return torch.from_numpy(data.data).permute(0, 3, 1, 2), torch.tensor(data.targets)


CIFAR10 = Dataset(
    name="cifar10",
    position=2,
    channels=3,
    resolution=32,
    num_images=50_000,
    num_classes=10,
    load=load,
    source="torchvision.datasets.CIFAR10",
    files=tuple(f"cifar-10-batches-py/{batch}" for batch in BATCHES),
    num_test_images=10_000,
)
