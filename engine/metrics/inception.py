"""Inception-v3 as FID uses it: torch-fidelity's port of the
2015-12-05 graph and of its resize [Heusel et al. 2017]."""

import io
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

from engine.metrics.extractors.kinds.inception import SPATIAL_CHANNELS, WEIGHTS
from engine.metrics.extractors.weights import WeightsNotFound as WeightsNotFound

BEFORE_SPATIAL = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1", "Conv2d_3b_1x1", "Conv2d_4a_3x3"),
    *("MaxPool_2", "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c"),
)
"""Layers before the one that sFID reads. The graph counts
its mixed blocks from 0, so mixed_6 is Mixed_6d here."""


class InceptionPool3(nn.Module):
    """Pool3 features float32 [B, 2048] of images uint8 [B, 1 or 3, H, W];
    grey images become three equal channels."""

    def __init__(self, weights: bytes) -> None:
        super().__init__()
        # torch-fidelity unpickles freely what it is given, so
        # the bytes must first prove to hold tensors alone.
        torch.load(io.BytesIO(weights), weights_only=True)
        file = io.BytesIO(weights)
        self.net = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=file)

    def forward(self, images: Tensor) -> Tensor:
        """Resize to 299x299 as TensorFlow 1 does, scale to (x - 128) / 128, and pool."""
        features: Tensor = self.net(images.expand(-1, 3, -1, -1))[0]
        return features

    def spatial(self, images: Tensor) -> Tensor:
        """Features float32 [B, 2023] for sFID: the first 7 channels of the graph's mixed_6/conv, after
        its ReLU, at all 17 x 17 places; row, column, channel [Nash et al. 2021; ADM's evaluator]."""
        x = interpolate_bilinear_2d_like_tensorflow1x(
            images.expand(-1, 3, -1, -1).float(), size=(299, 299), align_corners=False
        )
        x = (x - 128) / 128
        for name in BEFORE_SPATIAL:
            x = self.net.get_submodule(name)(x)
        maps: Tensor = self.net.Mixed_6d.branch1x1(x)[:, :SPATIAL_CHANNELS]
        return maps.permute(0, 2, 3, 1).flatten(1)

    @torch.inference_mode()
    def logits(self, features: Tensor) -> Tensor:
        """Logits float32 [B, 1008] on the CPU of pool3 features, without the last layer's bias, as Inception
        scores are taken [torch-fidelity; ADM's evaluator]."""
        weight = self.net.fc.weight
        logits: Tensor = features.to(weight.device) @ weight.T
        return logits.cpu()


def load_inception(weights_path: Path | None = None) -> tuple[InceptionPool3, bytes]:
    """The network and the bytes of its weights file; raises WeightsNotFound."""
    path = find_weights(weights_path)
    try:
        weights = path.read_bytes()
    except OSError as error:
        raise WeightsNotFound(f"cannot read Inception weights {path}: {error.strerror}") from None
    return InceptionPool3(weights), weights


def find_weights(weights_path: Path | None) -> Path:
    """The given path, else $ORCH_INCEPTION_WEIGHTS, else
    torch-fidelity's published file, downloaded when need be."""
    return WEIGHTS.named(weights_path) or published_weights()


def published_weights() -> Path:
    """torch-fidelity's file in torch's hub folder, downloaded when it is not there;
    WeightsNotFound when that fails."""
    file = URL_INCEPTION_V3.rsplit("/", 1)[-1]
    path = Path(str(torch.hub.get_dir()), "checkpoints", file)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(
                URL_INCEPTION_V3, str(path), hash_prefix=WEIGHTS.sha256_prefix, progress=False
            )
        except (OSError, RuntimeError) as error:
            raise WeightsNotFound(
                f"Inception weights could not be downloaded ({error}). Either pass "
                f"the path of {file}, or name it in {WEIGHTS.variable}, or run once "
                f"where {URL_INCEPTION_V3} can be reached (it is kept as {path})"
            ) from None
    return path
