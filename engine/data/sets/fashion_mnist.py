"""Fashion-MNIST [Xiao et al. 2017], in MNIST's IDX files."""

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

from engine.data.base import Dataset, Split, find_file

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = "FashionMNIST/raw"


def load(root: Path, split: Split) -> "tuple[Tensor, Tensor]":
    """Fashion-MNIST's 60,000 training or 10,000 test images, from the packed files or the unpacked ones."""
    images, labels = (read_idx(root, file) for file in FASHION_MNIST.files_of(split))
    return images[:, None], labels


def read_idx(root: Path, file: str) -> "Tensor":
    """A uint8 tensor from a file in MNIST's IDX format:
    four bytes whose last is the rank, big-endian sizes, values."""
    import numpy as np
    import torch

    path = find_file(root, file)
    if path is None:
        raise FileNotFoundError(root / file)
    raw = path.read_bytes()
    if path.suffix == ".gz":
        raw = gzip.decompress(raw)
    rank = raw[3]
    sizes = np.frombuffer(raw, ">u4", count=rank, offset=4).astype(int)
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * rank)
    return torch.from_numpy(values.reshape(sizes).copy())


# Kept at its own 28 x 28, not padded to 32. It halves twice (28, 14, 7): networks have at most three levels.
FASHION_MNIST = Dataset(
    name="fashion_mnist",
    position=3,
    channels=1,
    resolution=28,
    num_images=60_000,
    num_classes=10,
    load=load,
    source="torchvision.datasets.FashionMNIST",
    files=(f"{FOLDER}/train-images-idx3-ubyte.gz", f"{FOLDER}/train-labels-idx1-ubyte.gz"),
    num_test_images=10_000,
    test_files=(f"{FOLDER}/t10k-images-idx3-ubyte.gz", f"{FOLDER}/t10k-labels-idx1-ubyte.gz"),
)
