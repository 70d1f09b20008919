"""Inception-v3 as FID uses it: torch-fidelity's port of the 2015-12-05 graph and of its resize [Heusel et al.
2017]."""

import io
import os
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

from engine.metrics.extractors.kinds.inception import INCEPTION

DIMS = INCEPTION.dims
"""Size of the pool3 feature vector."""
PUBLISHED_SHA256_PREFIX = Path(URL_INCEPTION_V3).stem.rsplit("-", 1)[-1]
"""How the SHA-256 of the published weights begins; torch-fidelity's file name ends with it."""
WEIGHTS_VARIABLE = "ORCH_INCEPTION_WEIGHTS"
"""Environment variable that may name the weights file."""


class WeightsNotFound(FileNotFoundError):
    """No Inception weights could be had. The message names the ways to give them."""


class InceptionPool3(nn.Module):
    """Pool3 features float32 [B, 2048] of images uint8 [B, 1 or 3, H, W]; grey images become three equal
    channels."""

    def __init__(self, weights: bytes) -> None:
        super().__init__()
        # torch-fidelity unpickles freely what it is given, so the bytes must first prove to hold tensors
        # alone.
        torch.load(io.BytesIO(weights), weights_only=True)
        file = io.BytesIO(weights)
        self.net = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=file)

    def forward(self, images: Tensor) -> Tensor:
        """Resize to 299x299 as TensorFlow 1 does, scale to (x - 128) / 128, and pool."""
        features: Tensor = self.net(images.expand(-1, 3, -1, -1))[0]
        return features


def load_inception(weights_path: Path | None = None) -> tuple[InceptionPool3, bytes]:
    """The network and the bytes of its weights file; raises WeightsNotFound."""
    path = find_weights(weights_path)
    try:
        weights = path.read_bytes()
    except OSError as error:
        raise WeightsNotFound(f"cannot read Inception weights {path}: {error.strerror}") from None
    return InceptionPool3(weights), weights


def find_weights(weights_path: Path | None) -> Path:
    """The given path, else $ORCH_INCEPTION_WEIGHTS, else torch-fidelity's published file, downloaded when
    need be."""
    named = weights_path or os.environ.get(WEIGHTS_VARIABLE)
    return Path(named) if named else published_weights()


def published_weights() -> Path:
    """torch-fidelity's file in torch's hub folder, downloaded when it is not there; WeightsNotFound when that
    fails."""
    file = URL_INCEPTION_V3.rsplit("/", 1)[-1]
    path = Path(str(torch.hub.get_dir()), "checkpoints", file)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(
                URL_INCEPTION_V3, str(path), hash_prefix=PUBLISHED_SHA256_PREFIX, progress=False
            )
        except (OSError, RuntimeError) as error:
            raise WeightsNotFound(
                f"Inception weights could not be downloaded ({error}). Either pass the path of {file}, or name it in "
                f"{WEIGHTS_VARIABLE}, or run once where {URL_INCEPTION_V3} can be reached (it is kept as {path})"
            ) from None
    return path
