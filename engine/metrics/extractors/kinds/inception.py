"""Inception-v3, pool3: the feature space of the published FID [Heusel et al. 2017]."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from engine.metrics.extractors.base import Extractor
from engine.metrics.extractors.weights import PublishedWeights

if TYPE_CHECKING:
    import torch

    from engine.data.datasets import ImageSet
    from engine.files import Files
    from engine.metrics.features import NetworkExtractor

WEIGHTS = PublishedWeights(
    variable="ORCH_INCEPTION_WEIGHTS",
    url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
    sha256_prefix="6726825d",
    downloaded=True,
)
"""The 2015-12-05 graph's weights in torch-fidelity's layout."""

SPATIAL_CHANNELS = 7
"""Channels that sFID reads, so that its features are about as many as pool3's."""


def build(
    images: "ImageSet", files: "Files", weights: Path | None, device: "torch.device"
) -> "NetworkExtractor":
    """Inception-v3 pool3 with weights from the path `weights`, the environment or the published file.

    Weights that are not the published ones are named
    `other_inception`, so that no distance under them is called fid.
    """
    from engine.metrics.features import NetworkExtractor
    from engine.metrics.inception import load_inception  # takes seconds to import

    net, data = load_inception(weights)
    net = net.to(device)
    sha256 = hashlib.sha256(data).hexdigest()
    name = INCEPTION.name if sha256.startswith(WEIGHTS.sha256_prefix) else "other_inception"
    spatial = NetworkExtractor(f"{name}_spatial", INCEPTION.spatial_dims, sha256, net.spatial, device)
    return NetworkExtractor(name, INCEPTION.dims, sha256, net, device, net.logits, spatial)


INCEPTION = Extractor(
    name="inception",
    position=2,
    dims=2048,
    num_classes=1008,
    spatial_dims=17 * 17 * SPATIAL_CHANNELS,
    needs_weights=True,
    weights=WEIGHTS,
    published_distance="fid",
    build=build,
)
