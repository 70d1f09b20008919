"""The DDPM++ U-Net as EDM trains it [P3 Table 8 and released code; playbook A.5]."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from engine.backbones.layers import GroupNorm, SelfAttention, resample, sinusoidal_embedding, xavier_init
from engine.backbones.layout import Block, has_null_label, unet_layout
from engine.backbones.trunk import Trunk, TrunkNet
from engine.spec import DdpmPlusPlus

# A sum of two unit-variance branches has unit variance again.
SKIP_SCALE = math.sqrt(0.5)

# Gains of the initial weights: the last layer of every branch starts almost at zero.
NEAR_ZERO = 1e-5
ATTENTION_GAIN = math.sqrt(0.2)


class ResidualBlock(nn.Module):
    """Norm, convolution, embedding added, norm, convolution; then attention. Each sum is scaled by sqrt(1/2)."""

    def __init__(self, block: Block, embedding_width: int, dropout: float) -> None:
        super().__init__()
        before, after = block.in_channels, block.out_channels
        self.resampling = block.resampling
        self.norm0 = _norm(before)
        self.conv0 = xavier_init(nn.Conv2d(before, after, 3, padding=1))
        self.affine = xavier_init(nn.Linear(embedding_width, after))
        self.norm1 = _norm(after)
        self.dropout = nn.Dropout(dropout)
        self.conv1 = xavier_init(nn.Conv2d(after, after, 3, padding=1), NEAR_ZERO)
        self.skip = xavier_init(nn.Conv2d(before, after, 1)) if block.projects_skip else nn.Identity()
        self.attention = _attention(after) if block.attention else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, H', W'], H' being H halved, doubled or kept; `embedding` is [B, E]."""
        h = self.conv0(resample(F.silu(self.norm0(x)), self.resampling))
        h = F.silu(self.norm1(h + self.affine(embedding)[:, :, None, None]))
        h = self.conv1(self.dropout(h))
        x = SKIP_SCALE * (self.skip(resample(x, self.resampling)) + h)
        return x if self.attention is None else SKIP_SCALE * (x + self.attention(x))


class DdpmPlusPlusNet(TrunkNet):
    """DDPM++: additive embedding, one attention head, branches that start near zero.

    EDM's CIFAR-10 form (C = 128, channel_mult (2, 2, 2), 4 blocks) has 55.73 M parameters; 1,152 of them are the
    Linear(9, C) without bias of its nine augmentation labels, present with `augment_labels` 9.
    Raises ValueError when the configuration does not fit the resolution.
    """

    def __init__(
        self,
        config: DdpmPlusPlus,
        *,
        resolution: int,
        in_channels: int,
        num_classes: int,
        out_channels: int | None = None,
        augment_labels: int = 0,
    ) -> None:
        super().__init__()
        layout = unet_layout(
            config,
            resolution=resolution,
            in_channels=in_channels,
            num_classes=num_classes,
            out_channels=out_channels,
            augment_labels=augment_labels,
        )
        width, wide, last = layout.width, layout.embedding_width, layout.decoder[-1].out_channels
        self.width = width
        self.feature_channels = last
        self.num_labels = layout.num_labels
        self.has_null_label = has_null_label(config)
        self.map_label = xavier_init(nn.Linear(layout.num_labels, width)) if layout.num_labels else None
        self.map_augment = xavier_init(nn.Linear(augment_labels, width, bias=False)) if augment_labels else None
        self.map0 = xavier_init(nn.Linear(width, wide))
        self.map1 = xavier_init(nn.Linear(wide, wide))
        first = xavier_init(nn.Conv2d(in_channels, width, 3, padding=1))
        self.trunk = Trunk(layout, first, lambda block: ResidualBlock(block, wide, config.dropout))
        self.norm = _norm(last)
        self.last = xavier_init(nn.Conv2d(last, layout.out_channels, 3, padding=1), NEAR_ZERO)

    def embed(self, c_noise: Tensor, label: Tensor | None, augment: Tensor | None = None) -> Tensor:
        """Embedding [B, 4 C] of noise level, class and augmentation, each added to the waves of the noise level."""
        embedding = sinusoidal_embedding(c_noise, self.width, endpoint=True, sine_first=True)
        if self.map_label is not None:
            if label is None:
                raise ValueError("a class-conditional network needs a label for every image")
            # Scaled to unit variance a feature.
            one_hot = self.one_hot(label).to(embedding.dtype) * math.sqrt(self.num_labels)
            embedding = embedding + self.map_label(one_hot)
        if augment is not None:
            if self.map_augment is None:
                raise ValueError("a network built without augmentation labels cannot be told of augmentation")
            embedding = embedding + self.map_augment(augment)
        return F.silu(self.map1(F.silu(self.map0(embedding))))

    def one_hot(self, label: Tensor) -> Tensor:
        """One-hot vectors [B, classes] of classes [B]; zeros for label -1 where the network knows it."""
        if not self.has_null_label:
            return F.one_hot(label, self.num_labels)
        return F.one_hot(label + 1, self.num_labels + 1)[:, 1:]


def _norm(channels: int) -> GroupNorm:
    return GroupNorm(channels, min_channels=4, eps=1e-6)


def _attention(channels: int) -> SelfAttention:
    attention = SelfAttention(channels, heads=1, norm=_norm(channels))
    xavier_init(attention.qkv, ATTENTION_GAIN)
    xavier_init(attention.proj, NEAR_ZERO)
    return attention
