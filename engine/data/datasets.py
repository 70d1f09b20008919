"""Load a whole training set into memory as bytes, and convert between bytes and the networks' numbers."""

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.data.catalog import CATALOG, DataNotFound, Split, data_not_found, find_file, missing_files


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A training set: images uint8 [N, C, H, W], labels int64 [N], and the hash that identifies both."""

    images: Tensor
    labels: Tensor
    sha256: str
    """Of the pixel bytes followed by the label bytes."""

    @classmethod
    def of(cls, images: Tensor, labels: Tensor) -> "ImageSet":
        """Hash the tensors' bytes."""
        images, labels = images.contiguous(), labels.to(torch.int64).contiguous()
        digest = hashlib.sha256(images.numpy().data)
        digest.update(labels.numpy().data)
        return cls(images, labels, digest.hexdigest())


def load_images(name: str, root: Path | None, split: Split = "train") -> ImageSet:
    """A split of a data set of the catalogue; `root` is the data root, which digits does not need.

    Raises DataNotFound when files are missing or are not the published ones, KeyError for a split there is
    not.
    """
    if missing_files(name, root, split):
        raise data_not_found(name, root, split)
    loaders = LOADERS if split == "train" else TEST_LOADERS
    images, labels = loaders[name](root or Path())
    info = CATALOG[name]
    count = info.num_images if split == "train" else info.num_test_images
    expected = (count, info.channels, info.resolution, info.resolution)
    if tuple(images.shape) != expected or tuple(labels.shape) != expected[:1]:
        found = f"images {tuple(images.shape)} and labels {tuple(labels.shape)}"
        raise DataNotFound(f"{name} in {root} holds {found}, not {expected}: download it again")
    return ImageSet.of(images, labels)


def load_digits(root: Path) -> tuple[Tensor, Tensor]:
    """scikit-learn's 8x8 digits; their 17 grey levels 0..16 are spread over 0..255."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = np.rint(pixels * 255 / 16).astype(np.uint8)
    return torch.from_numpy(images).reshape(-1, 1, 8, 8), torch.from_numpy(labels)


def load_cifar10(root: Path, train: bool = True) -> tuple[Tensor, Tensor]:
    """CIFAR-10's 50,000 training images, or its 10,000 test images.

    Its files are pickles. torchvision checks each against the published MD5 before it unpickles any.
    """
    from torchvision.datasets import CIFAR10

    try:
        data = CIFAR10(root, train=train, download=False)
    except RuntimeError:
        raise DataNotFound(
            f"cifar10 in {root}: a file differs from its published MD5; download it again"
        ) from None
    return torch.from_numpy(data.data).permute(0, 3, 1, 2), torch.tensor(data.targets)


def load_fashion_mnist(root: Path) -> tuple[Tensor, Tensor]:
    """Fashion-MNIST's 60,000 training images, from the packed files or the unpacked ones."""
    images, labels = (read_idx(root, file) for file in CATALOG["fashion_mnist"].files)
    return images[:, None], labels


def load_fashion_mnist_test(root: Path) -> tuple[Tensor, Tensor]:
    """Fashion-MNIST's 10,000 test images."""
    images, labels = (read_idx(root, file) for file in CATALOG["fashion_mnist"].test_files)
    return images[:, None], labels


def read_idx(root: Path, file: str) -> Tensor:
    """A uint8 tensor from a file in MNIST's IDX format: four bytes whose last is the rank, big-endian sizes,
    values."""
    path = find_file(root, file)
    if path is None:
        raise FileNotFoundError(root / file)
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rank = raw[3]
    sizes = np.frombuffer(raw, ">u4", count=rank, offset=4).astype(int)
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * rank)
    return torch.from_numpy(values.reshape(sizes).copy())


LOADERS: dict[str, Callable[[Path], tuple[Tensor, Tensor]]] = {
    "digits": load_digits,
    "cifar10": load_cifar10,
    "fashion_mnist": load_fashion_mnist,
}
"""How each data set of the catalogue is read: data root -> (images uint8 [N, C, H, W], labels [N])."""

TEST_LOADERS: dict[str, Callable[[Path], tuple[Tensor, Tensor]]] = {
    "cifar10": partial(load_cifar10, train=False),
    "fashion_mnist": load_fashion_mnist_test,
}
"""The same of the data sets that have a test split."""


def to_unit(images: Tensor) -> Tensor:
    """Bytes 0..255 to float32 in [-1, 1] [playbook 1.0]."""
    return images.float() / 127.5 - 1


def to_uint8(x: Tensor) -> Tensor:
    """Numbers in [-1, 1] to the nearest byte, as EDM quantises: cut off x * 127.5 + 128, limited to
    0..255."""
    return (x * 127.5 + 128).clip(0, 255).to(torch.uint8)


def points_of(images: ImageSet, *, mirrored: bool, labelled: bool) -> tuple[Tensor, Tensor | None]:
    """The points of a training set in [-1, 1], [N, C, H, W], and their labels [N] where a network is told
    them.

    A set that is shown mirrored is one of twice as many images.
    """
    points, labels = to_unit(images.images), images.labels if labelled else None
    if not mirrored:
        return points, labels
    return torch.cat([points, points.flip(-1)]), None if labels is None else torch.cat([labels, labels])
