"""An extractor: images shrunk to 2 x 2 grey pixels."""

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
    """Nothing is learned, so nothing is kept in `files`."""
    from engine.metrics.features import NetworkExtractor

    return NetworkExtractor("thumbnails", THUMBNAILS.dims, "0" * 64, _thumbnail, device)


def _thumbnail(images: "torch.Tensor") -> "torch.Tensor":
    from torch.nn.functional import adaptive_avg_pool2d

    return adaptive_avg_pool2d(images.float().mean(1, keepdim=True), 2).flatten(1)


THUMBNAILS = Extractor(name="thumbnails", dims=4, build=build)
