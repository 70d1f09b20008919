"""A fixed random projection of the pixels: a feature space that needs neither labels nor a download."""

import hashlib
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engine.metrics.extractors.base import Extractor

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from engine.data.datasets import ImageSet
    from engine.files import Files
    from engine.metrics.features import NetworkExtractor

DIMS = 64
"""Size of the feature vector."""
SEED = 0


def build(
    images: "ImageSet", files: "Files", weights: Path | None, device: "torch.device"
) -> "NetworkExtractor":
    """The projection that fits the data set's image size."""
    from engine.metrics.features import NetworkExtractor

    matrix = projection(images.images[0].numel())
    network = partial(project, matrix=matrix.to(device))
    return NetworkExtractor(PIXELS.name, PIXELS.dims, sha256(matrix), network, device)


def projection(num_values: int) -> "Tensor":
    """The matrix float32 [64, values of an image]: random signs over sqrt(64) [Achlioptas 2003].

    It keeps squared distances on average. Signs, unlike normal numbers, are the same bits on every machine.
    """
    import torch

    from engine.noise import Purpose, uniforms

    drawn = uniforms(SEED, Purpose.PROJECTION, torch.arange(DIMS), num_values)
    return torch.where(drawn < 0.5, -1.0, 1.0) / math.sqrt(DIMS)


def project(images: "Tensor", matrix: "Tensor") -> "Tensor":
    """Features float32 [B, 64] of images uint8 [B, C, H, W], whose pixels count as numbers in [-1, 1]."""
    from engine.data.datasets import to_unit

    return to_unit(images).flatten(1) @ matrix.T


def sha256(matrix: "Tensor") -> str:
    """Hash of the matrix's bytes."""
    return hashlib.sha256(matrix.numpy().tobytes()).hexdigest()


PIXELS = Extractor(name="pixels", position=3, dims=DIMS, build=build)
