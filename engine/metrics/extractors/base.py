"""What a feature extractor tells of itself. Imports no torch, so a plan can ask."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.kinds import LAST
from engine.metrics.extractors.weights import PublishedWeights

if TYPE_CHECKING:
    import torch

    from engine.data.datasets import ImageSet
    from engine.files import Files
    from engine.metrics.features import FeatureExtractor

Builder = Callable[["ImageSet", "Files", Path | None, "torch.device"], "FeatureExtractor"]
"""(training set, folder for what is learned from it, path of weights or None, device) -> the extractor.

It imports torch itself.
"""


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """A feature space in which generated images are compared with real ones."""

    name: str
    dims: int
    """Size of a feature vector."""
    build: Builder
    needs_labels: bool = False
    """Whether it learns from the data set's labels."""
    needs_weights: bool = False
    """Whether it takes weights that are published elsewhere, from a file or a download."""
    weights: PublishedWeights | None = None
    """Those weights, so that a plan can say when they are not there."""
    num_classes: int = 0
    """Classes that its network tells apart, where a score may be taken of that; 0 where it tells none."""
    spatial_dims: int = 0
    """Size of the vector that keeps places in the image apart; 0 where there is none."""
    published_distance: str = ""
    """What the literature calls the Frechet distance in this space under the full protocol, if it does."""
    position: int = LAST
    """Its place in lists and messages."""
