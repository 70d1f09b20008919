"""The penultimate layer of a small classifier of the data set's own labels: needs no download."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from engine.metrics.extractors.base import Extractor

if TYPE_CHECKING:
    import torch

    from engine.data.datasets import ImageSet
    from engine.files import Files
    from engine.metrics.features import NetworkExtractor


def build(
    images: "ImageSet", files: "Files", weights: Path | None, device: "torch.device"
) -> "NetworkExtractor":
    """The data set's own classifier, trained on first use and kept in `files`."""
    from engine.metrics.classifier import load_classifier
    from engine.metrics.features import NetworkExtractor

    net, data = load_classifier(images, files)
    sha256 = hashlib.sha256(data).hexdigest()
    return NetworkExtractor(CLASSIFIER.name, CLASSIFIER.dims, sha256, net.to(device).features, device)


CLASSIFIER = Extractor(name="classifier", position=1, dims=64, needs_labels=True, build=build)
