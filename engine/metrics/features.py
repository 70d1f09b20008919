"""Feature extractors: images to vectors, independent of how the images are split into calls."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from engine.data.datasets import ImageSet
from engine.files import Files
from engine.metrics.extractors.registry import EXTRACTORS

BATCH_SIZE = 64
"""The one batch shape networks are evaluated at."""


class FeatureExtractor(Protocol):
    """Maps images to feature vectors."""

    @property
    def name(self) -> str:
        """Name in EXTRACTORS."""

    @property
    def dims(self) -> int:
        """Size of a feature vector."""

    @property
    def sha256(self) -> str:
        """Hash of the weights."""

    @property
    def logits(self) -> "Callable[[Tensor], Tensor] | None":
        """Features [N, dims] -> logits [N, classes]; None where the kind has no `num_classes`."""

    @property
    def spatial(self) -> "FeatureExtractor | None":
        """The same network's features that keep places apart; None where the kind has no `spatial_dims`."""

    def __call__(self, images: Tensor) -> Tensor:
        """Features float32 [N, dims] on the CPU of images uint8 [N, C, H, W]."""


@dataclass(frozen=True, eq=False)
class NetworkExtractor:
    """A feature extractor that evaluates a network in batches of one fixed shape, the last one padded.

    So an image has the same features, bit for bit on one
    kind of device, whichever images are measured with it.
    """

    name: str
    dims: int
    sha256: str
    network: Callable[[Tensor], Tensor]
    device: torch.device
    logits: Callable[[Tensor], Tensor] | None = None
    spatial: "NetworkExtractor | None" = None

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Features float32 [N, dims] on the CPU of images uint8 [N, C, H, W]."""
        features = torch.empty(len(images), self.dims)
        for start in range(0, len(images), BATCH_SIZE):
            chunk = images[start : start + BATCH_SIZE]
            padding = chunk[:1].expand(BATCH_SIZE - len(chunk), -1, -1, -1)
            batch = torch.cat([chunk, padding]).to(self.device)
            features[start : start + len(chunk)] = self.network(batch)[: len(chunk)]
        return features


def build_extractor(
    name: str,
    images: ImageSet,
    *,
    files: Files,
    weights_path: Path | None = None,
    device: torch.device | None = None,
) -> FeatureExtractor:
    """The extractor of that name for a data set, on `device` (the CPU by default).

    `files` is where weights trained on the data set are kept; `weights_path` is for those with published
    weights. Raises KeyError for an unknown name and engine.metrics.extractors.weights.WeightsNotFound.
    """
    return EXTRACTORS[name].build(images, files, weights_path, device or torch.device("cpu"))
