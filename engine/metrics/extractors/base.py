"""What a feature extractor tells of itself. Imports no torch, so a plan can ask."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.kinds import LAST

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
    published_distance: str = ""
    """What the literature calls the Frechet distance in this space under the full protocol, if it does."""
    position: int = LAST
    """Its place in lists and messages."""
