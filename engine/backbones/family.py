"""What sets one kind of U-Net apart from another, one row a kind. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from engine.config.model import Adm, UNet, UNets


def one_head(model: UNets, channels: int) -> int:
    """EDM's DDPM++ and NCSN++ attend with a single head."""
    return 1


def given_heads(model: UNet, channels: int) -> int:
    """iDDPM gives every level the same number of heads."""
    return model.num_heads


def heads_of_given_channels(model: Adm, channels: int) -> int:
    """ADM's heads have 64 channels each, or a few more where 64 does not divide the channels.

    A smoke run divides the channels of a head like every other width.
    """
    most = channels // max(1, model.head_channels // model.width_divisor)
    return max((heads for heads in range(1, most + 1) if channels % heads == 0), default=1)


@dataclass(frozen=True)
class Family:
    """The traits of one kind of U-Net. "Features" are the waves of the noise level, which two layers make an
    embedding.

    Each of `label` and `augment` says whether that input is added to the features or to the embedding.
    """

    modulations: Literal[1, 2]
    """What the embedding gives every channel of a block: a shift, or a scale and a shift."""
    label: Literal["features", "embedding", "table"]
    """A linear layer on the one-hot class: with bias into the features, without into the embedding. Or a
    table of embeddings."""
    augment: Literal["features", "embedding"]
    heads: Callable[[Any, int], int]
    """Attention heads of a block: (model, channels) -> heads."""
    attends_throughout: bool
    """On the way up every block of an attention resolution attends; otherwise a level's last block alone."""
    resampler: Literal["residual", "conv"] = "residual"
    """What halves and doubles images: a residual block, or a convolution of its own."""
    plain_skip: bool = False
    """A residual block that resamples equal channels has no weights on its skip connection."""
    noise_features: int = 1
    """Features for every channel of the first layer."""
    smooth: bool = False
    """Resampling by the filter [1, 3, 3, 1] instead of [1, 1], the mean or the repetition of pixels."""
    residual_encoder: bool = False
    """On the way down every halved level is told of the image again."""


FAMILIES: dict[str, Family] = {
    "adm": Family(
        modulations=2,
        label="embedding",
        augment="features",
        heads=heads_of_given_channels,
        attends_throughout=True,
        plain_skip=True,
    ),
    "ddpmpp": Family(
        modulations=1, label="features", augment="features", heads=one_head, attends_throughout=False
    ),
    "ncsnpp": Family(
        modulations=1,
        label="features",
        augment="features",
        heads=one_head,
        attends_throughout=False,
        noise_features=2,
        smooth=True,
        residual_encoder=True,
    ),
    "unet": Family(
        modulations=2,
        label="table",
        augment="embedding",
        heads=given_heads,
        attends_throughout=True,
        resampler="conv",
    ),
}
"""Every kind of U-Net."""
