"""DINOv2 ViT-L/14: the feature space of FD_DINOv2 [EDM2; Stein et al. 2023]."""

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
    variable="ORCH_DINOV2_WEIGHTS",
    url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
    sha256_prefix="d5383ea8f4877b24",
    downloaded=False,  # 1.2 GB: nobody wants that unasked
)
"""The backbone without registers, in the layout of its own repository."""


def build(
    images: "ImageSet", files: "Files", weights: Path | None, device: "torch.device"
) -> "NetworkExtractor":
    """The network with weights from the path `weights`, the environment or torch's hub folder.

    Weights that are not the published ones are named `other_dinov2`, and so is the distance under them.
    """
    from engine.metrics.dinov2 import load_dinov2
    from engine.metrics.features import NetworkExtractor

    net, data = load_dinov2(weights)
    sha256 = hashlib.sha256(data).hexdigest()
    name = DINOV2.name if sha256.startswith(WEIGHTS.sha256_prefix) else "other_dinov2"
    return NetworkExtractor(name, DINOV2.dims, sha256, net.to(device), device)


DINOV2 = Extractor(
    name="dinov2",
    position=4,
    dims=1024,
    needs_weights=True,
    weights=WEIGHTS,
    build=build,
)
