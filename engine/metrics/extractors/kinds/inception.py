"""Inception-v3, pool3: the feature space of the published FID [Heusel et al. 2017]."""

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
    """Inception-v3 pool3 with weights from the path `weights`, the environment or the published file.

    Weights that are not the published ones are named `other_inception`, so that no distance under them is
    called fid.
    """
    from engine.metrics.features import NetworkExtractor
    from engine.metrics.inception import PUBLISHED_SHA256_PREFIX, load_inception  # takes seconds to import

    net, data = load_inception(weights)
    sha256 = hashlib.sha256(data).hexdigest()
    name = INCEPTION.name if sha256.startswith(PUBLISHED_SHA256_PREFIX) else "other_inception"
    return NetworkExtractor(name, INCEPTION.dims, sha256, net.to(device), device)


INCEPTION = Extractor(
    name="inception",
    position=2,
    dims=2048,
    needs_weights=True,
    published_distance="fid",
    build=build,
)
