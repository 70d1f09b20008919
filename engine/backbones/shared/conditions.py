"""What DiT and the MLP are told beside their input:
noise level, class and augmentation, as one sum of embeddings."""

from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

from engine.backbones.base import ModelBase
from engine.backbones.shape import NetShape
from engine.backbones.shared.conditions_cost import FREQUENCIES, label_rows
from engine.backbones.shared.layers import full_precision, sinusoidal_embedding, zero_init

Layer = TypeVar("Layer", nn.Linear, nn.Embedding)

EMBEDDING_STD = 0.02
"""Standard deviation of the embeddings' initial weights."""


class Conditions(nn.Module):
    """Embeddings of noise level, class and augmentation, fp32 whatever the precision around them."""

    def __init__(self, config: ModelBase, shape: NetShape, width: int) -> None:
        super().__init__()
        self.noise0 = normal_init(nn.Linear(FREQUENCIES, width))
        self.noise1 = normal_init(nn.Linear(width, width))
        self.has_null_label = config.has_null_label
        rows = label_rows(config, shape)
        augment = shape.augment_labels
        self.label = normal_init(nn.Embedding(rows, width)) if rows else None
        self.augment = zero_init(nn.Linear(augment, width, bias=False)) if augment else None

    def forward(self, c_noise: Tensor, label: Tensor | None, augment: Tensor | None) -> tuple[Tensor, Tensor]:
        """Embeddings [B, D] of everything, and of the noise level alone.

        `c_noise` is [B], `label` int64 [B], `augment` [B, augment_labels]; None and -1 mean what they mean
        for every backbone. Raises ValueError when a conditional network gets no label, and when a network
        without augmentation labels gets some.
        """
        with full_precision(c_noise.device):
            waves = sinusoidal_embedding(c_noise, FREQUENCIES, endpoint=False, sine_first=False)
            noise: Tensor = self.noise1(F.silu(self.noise0(waves)))
            embedding = noise
            if self.label is not None:
                if label is None:
                    raise ValueError("a class-conditional network needs a label for every image")
                # The first row stands for "no label" where the network knows that.
                embedding = embedding + self.label(label + 1 if self.has_null_label else label)
            if augment is not None:
                if self.augment is None:
                    raise ValueError(
                        "a network built without augmentation labels cannot be told of augmentation"
                    )
                embedding = embedding + self.augment(augment)
        return embedding, noise


def normal_init(layer: Layer) -> Layer:
    """The layer with normal weights of standard deviation 0.02 and zero bias."""
    nn.init.normal_(layer.weight, std=EMBEDDING_STD)
    if isinstance(layer, nn.Linear):
        nn.init.zeros_(layer.bias)
    return layer
