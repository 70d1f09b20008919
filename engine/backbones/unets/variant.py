"""What sets one kind of U-Net apart from another. Imports no torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class UNetVariant:
    """The traits of one kind of U-Net. "Features" are the waves
    of the noise level, which two layers make an embedding.

    Each of `label` and `augment` says whether that input is added to the features or to the embedding.
    """

    modulations: Literal[1, 2]
    """What the embedding gives every channel of a block: a shift, or a scale and a shift."""
    label: Literal["features", "embedding", "table"]
    """A linear layer on the one-hot class: with bias into the features, without into the embedding. Or a
    table of embeddings."""
    augment: Literal["features", "embedding"]
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
