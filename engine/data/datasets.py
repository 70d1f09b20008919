"""Load a whole training set into memory as bytes, and convert between bytes and the networks' numbers."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.data.base import DataNotFound, Split
from engine.data.catalog import data_not_found, missing_files
from engine.data.registry import DATASETS


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
    """A split of a data set; `root` is the data root, which digits does not need.

    Raises DataNotFound when files are missing or are not
    the published ones, KeyError for a split there is not.
    """
    dataset = DATASETS[name]
    count = dataset.count(split)
    if count == 0:
        raise KeyError(f"{name} has no {split} split")
    if missing_files(name, root, split):
        raise data_not_found(name, root, split)
    images, labels = dataset.load(root or Path(), split)
    expected = (count, dataset.channels, dataset.resolution, dataset.resolution)
    if tuple(images.shape) != expected or tuple(labels.shape) != expected[:1]:
        found = f"images {tuple(images.shape)} and labels {tuple(labels.shape)}"
        raise DataNotFound(f"{name} in {root} holds {found}, not {expected}: download it again")
    return ImageSet.of(images, labels)


def to_unit(images: Tensor) -> Tensor:
    """Bytes 0..255 to float32 in [-1, 1] [playbook 1.0]."""
    return images.float() / 127.5 - 1


def to_uint8(x: Tensor) -> Tensor:
    """Numbers in [-1, 1] to the nearest byte, as EDM quantises:
    cut off x * 127.5 + 128, limited to 0..255."""
    return (x * 127.5 + 128).clip(0, 255).to(torch.uint8)


def points_of(images: ImageSet, *, mirrored: bool, labelled: bool) -> tuple[Tensor, Tensor | None]:
    """The points of a training set in [-1, 1], [N, C, H, W],
    and their labels [N] where a network is told them.

    A set that is shown mirrored is one of twice as many images.
    """
    points, labels = to_unit(images.images), images.labels if labelled else None
    if not mirrored:
        return points, labels
    return torch.cat([points, points.flip(-1)]), None if labels is None else torch.cat([labels, labels])
