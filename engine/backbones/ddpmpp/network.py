"""The DDPM++ U-Net as EDM trains it [P3 Table 8 and released code; playbook A.5]."""

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.backbones.ncsnpp.config import NcsnPlusPlus
from engine.backbones.shape import NetShape
from engine.backbones.shared.layers import one_hot, sinusoidal_embedding, xavier_init
from engine.backbones.unets.encoder_decoder import EncoderDecoder, EncoderDecoderNet
from engine.backbones.unets.layers import GroupNorm, SelfAttention, resample
from engine.backbones.unets.layout import Block, Layout, Resampling, unet_layout

# A sum of two unit-variance branches has unit variance again.
SKIP_SCALE = math.sqrt(0.5)

# Gains of the initial weights: the last layer of every branch starts almost at zero.
NEAR_ZERO = 1e-5
ATTENTION_GAIN = math.sqrt(0.2)


class ResidualBlock(nn.Module):
    """Norm, convolution, embedding added, norm, convolution; then attention. Each sum is scaled by sqrt(1/2).

    NCSN++ resamples in its own way.
    """

    def __init__(
        self,
        block: Block,
        embedding_width: int,
        dropout: float,
        resample: Callable[[Tensor, Resampling], Tensor] = resample,
    ) -> None:
        super().__init__()
        before, after = block.in_channels, block.out_channels
        self.resampling = block.resampling
        self.resample = resample
        self.norm0 = _norm(before)
        self.conv0 = xavier_init(nn.Conv2d(before, after, 3, padding=1))
        self.affine = xavier_init(nn.Linear(embedding_width, after))
        self.norm1 = _norm(after)
        self.dropout = nn.Dropout(dropout)
        self.conv1 = xavier_init(nn.Conv2d(after, after, 3, padding=1), NEAR_ZERO)
        self.skip = xavier_init(nn.Conv2d(before, after, 1)) if block.projects_skip else nn.Identity()
        self.attention = _attention(after, block.heads) if block.attention else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, H', W'], H' being H halved, doubled or kept; `embedding` is [B, E]."""
        h = self.conv0(self.resample(F.silu(self.norm0(x)), self.resampling))
        h = F.silu(self.norm1(h + self.affine(embedding)[:, :, None, None]))
        h = self.conv1(self.dropout(h))
        x = SKIP_SCALE * (self.skip(self.resample(x, self.resampling)) + h)
        return x if self.attention is None else SKIP_SCALE * (x + self.attention(x))


class DdpmPlusPlusNet(EncoderDecoderNet):
    """DDPM++: additive embedding, one attention head, branches that start near zero.

    EDM's CIFAR-10 form (C = 128, channel_mult (2, 2, 2), 4 blocks) has 55.73 M parameters; 1,152 of them are
    the Linear(9, C) without bias of its nine augmentation labels, present with as many augmentation labels.
    Raises ValueError when the configuration does not fit the resolution.
    """

    def __init__(self, config: DdpmPlusPlus | NcsnPlusPlus, shape: NetShape) -> None:
        super().__init__()
        layout = unet_layout(config, shape)
        features = layout.noise_features
        wide = layout.embedding_width
        last = layout.decoder[-1].out_channels
        labels = layout.num_labels
        augment = shape.augment_labels
        self.noise_features = features
        self.feature_channels = last
        self.embedding_channels = wide
        self.dropout = config.dropout
        self.num_labels = labels
        self.has_null_label = config.has_null_label
        self.map_label = xavier_init(nn.Linear(labels, features)) if labels else None
        self.map_augment = xavier_init(nn.Linear(augment, features, bias=False)) if augment else None
        self.map0 = xavier_init(nn.Linear(features, wide))
        self.map1 = xavier_init(nn.Linear(wide, wide))
        first = xavier_init(nn.Conv2d(shape.in_channels, layout.first_channels, 3, padding=1))
        self.trunk = self.make_encoder_decoder(layout, first, config.dropout)
        self.norm = _norm(last)
        self.last = xavier_init(nn.Conv2d(last, shape.out_channels, 3, padding=1), NEAR_ZERO)

    def make_encoder_decoder(self, layout: Layout, first: nn.Conv2d, dropout: float) -> EncoderDecoder:
        """The blocks between the first convolution and the last norm."""
        return EncoderDecoder(
            layout, first, lambda block: ResidualBlock(block, layout.embedding_width, dropout)
        )

    def waves(self, c_noise: Tensor) -> Tensor:
        """Sines and cosines [B, noise features] of the noise level [B]."""
        return sinusoidal_embedding(c_noise, self.noise_features, endpoint=True, sine_first=True)

    def embed(self, c_noise: Tensor, label: Tensor | None, augment: Tensor | None = None) -> Tensor:
        """Activated embedding [B, 4 C] of noise level, class
        and augmentation, the latter two added to the waves."""
        embedding = self.waves(c_noise)
        if self.map_label is not None and label is not None:
            # Scaled to unit variance a feature.
            vectors = one_hot(label, self.num_labels, has_null=self.has_null_label) * math.sqrt(
                self.num_labels
            )
            embedding = embedding + self.map_label(vectors)
        if self.map_augment is not None and augment is not None:
            embedding = embedding + self.map_augment(augment)
        return F.silu(self.map1(F.silu(self.map0(embedding))))


def _norm(channels: int) -> GroupNorm:
    return GroupNorm(channels, min_channels=4, eps=1e-6)


def _attention(channels: int, heads: int) -> SelfAttention:
    attention = SelfAttention(channels, heads, _norm(channels))
    xavier_init(attention.qkv, ATTENTION_GAIN)
    xavier_init(attention.proj, NEAR_ZERO)
    return attention
