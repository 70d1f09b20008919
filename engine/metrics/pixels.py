"""A fixed random projection of the pixels: a feature space that needs neither labels nor a download."""

import hashlib
import math

import torch
from torch import Tensor

from engine.data.datasets import to_unit
from engine.metrics.names import FEATURE_DIMS
from engine.noise import Purpose, uniforms

DIMS = FEATURE_DIMS["pixels"]
"""Size of the feature vector."""
SEED = 0


def projection(num_values: int) -> Tensor:
    """The matrix float32 [64, values of an image]: random signs over sqrt(64) [Achlioptas 2003].

    It keeps squared distances on average. Signs, unlike normal numbers, are the same bits on every machine.
    """
    drawn = uniforms(SEED, Purpose.PROJECTION, torch.arange(DIMS), num_values)
    return torch.where(drawn < 0.5, -1.0, 1.0) / math.sqrt(DIMS)


def project(images: Tensor, matrix: Tensor) -> Tensor:
    """Features float32 [B, 64] of images uint8 [B, C, H, W], whose pixels count as numbers in [-1, 1]."""
    return to_unit(images).flatten(1) @ matrix.T


def sha256(matrix: Tensor) -> str:
    """Hash of the matrix's bytes."""
    return hashlib.sha256(matrix.numpy().tobytes()).hexdigest()
