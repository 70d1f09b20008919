"""The iDDPM U-Net: scale-shift conditioning and multi-head attention [P1 p11 and released code; playbook 2.0-2.3]."""

import torch.nn.functional as F
from torch import Tensor, nn

from engine.backbones.layers import GroupNorm, SelfAttention, resample, sinusoidal_embedding, zero_init
from engine.backbones.layout import Block, has_null_label, unet_layout
from engine.backbones.trunk import Trunk, TrunkNet
from engine.spec import UNet


class ResidualBlock(nn.Module):
    """Norm, convolution, norm, scale and shift from the embedding, convolution; then attention."""

    def __init__(self, block: Block, embedding_width: int, config: UNet) -> None:
        super().__init__()
        before, after = block.in_channels, block.out_channels
        self.norm0 = _norm(before)
        self.conv0 = nn.Conv2d(before, after, 3, padding=1)
        self.affine = nn.Linear(embedding_width, 2 * after)
        self.norm1 = _norm(after)
        self.dropout = nn.Dropout(config.dropout)
        self.conv1 = zero_init(nn.Conv2d(after, after, 3, padding=1))
        self.skip = nn.Conv2d(before, after, 1) if block.projects_skip else nn.Identity()
        self.attention = _attention(after, config.num_heads) if block.attention else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, H, W]; `embedding` is [B, E]. Conditioning is GroupNorm(h) * (w + 1) + b."""
        h = self.conv0(F.silu(self.norm0(x)))
        w, b = self.affine(F.silu(embedding))[:, :, None, None].chunk(2, dim=1)
        h = F.silu(self.norm1(h) * (w + 1) + b)
        x = self.skip(x) + self.conv1(self.dropout(h))
        return x if self.attention is None else x + self.attention(x)


class ResamplingConv(nn.Module):
    """Halve images by a convolution of stride 2, or double them by repeating pixels and a convolution."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.doubles = block.resampling == "double"
        self.conv = nn.Conv2d(block.in_channels, block.out_channels, 3, stride=1 if self.doubles else 2, padding=1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, H', W']. Only residual blocks are conditioned: `embedding` plays no part."""
        resampled: Tensor = self.conv(resample(x, "double") if self.doubles else x)
        return resampled


class UNetNet(TrunkNet):
    """iDDPM's U-Net: the last layer of every branch, and of the network, starts at zero.

    Its ImageNet-64 form (channel_mult (1, 2, 3, 4), 3 blocks, attention at 16 and 8) has 30.30 / 68.13 / 121.06 /
    272.28 M parameters for C = 64 / 96 / 128 / 192, and 79.5 GFLOP = 39.7 GMAC for C = 128 [P1 p11 rounds these].
    To every digit they hold for `out_channels` 6, noise and learned variance of three colours; with 3 (the noise
    alone, and the default here) there are 0.01 % fewer parameters.
    Raises ValueError when the configuration does not fit the resolution.
    """

    def __init__(
        self,
        config: UNet,
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
        self.map0 = nn.Linear(width, wide)
        self.map1 = nn.Linear(wide, wide)
        self.has_null_label = has_null_label(config)
        self.map_label = nn.Embedding(layout.num_labels, wide) if layout.num_labels else None
        self.map_augment = zero_init(nn.Linear(augment_labels, wide, bias=False)) if augment_labels else None

        def build(block: Block) -> nn.Module:
            return ResidualBlock(block, wide, config) if block.kind == "residual" else ResamplingConv(block)

        self.trunk = Trunk(layout, nn.Conv2d(in_channels, width, 3, padding=1), build)
        self.norm = _norm(last)
        self.last = zero_init(nn.Conv2d(last, layout.out_channels, 3, padding=1))

    def embed(self, c_noise: Tensor, label: Tensor | None, augment: Tensor | None = None) -> Tensor:
        """Embedding [B, 4 C] of noise level, class and augmentation, before the activation every block applies."""
        waves = sinusoidal_embedding(c_noise, self.width, endpoint=False, sine_first=False)
        embedding: Tensor = self.map1(F.silu(self.map0(waves)))
        if self.map_label is not None:
            if label is None:
                raise ValueError("a class-conditional network needs a label for every image")
            # The first row stands for "no label" where the network knows that.
            embedding = embedding + self.map_label(label + 1 if self.has_null_label else label)
        if augment is not None:
            if self.map_augment is None:
                raise ValueError("a network built without augmentation labels cannot be told of augmentation")
            embedding = embedding + self.map_augment(augment)
        return embedding


def _norm(channels: int) -> GroupNorm:
    return GroupNorm(channels, min_channels=2, eps=1e-5)


def _attention(channels: int, heads: int) -> SelfAttention:
    attention = SelfAttention(channels, heads, _norm(channels))
    zero_init(attention.proj)
    return attention
