"""The iDDPM U-Net: scale-shift conditioning and multi-head
attention [P1 p11 and released code; playbook 2.0-2.3]."""

import torch.nn.functional as F
from torch import Tensor, nn

from engine.backbones.shape import NetShape
from engine.backbones.shared.layers import sinusoidal_embedding, zero_init
from engine.backbones.unet.config import UNet
from engine.backbones.unets.encoder_decoder import EncoderDecoder, EncoderDecoderNet
from engine.backbones.unets.layers import GroupNorm, SelfAttention, resample
from engine.backbones.unets.layout import Block, unet_layout


class ResidualBlock(nn.Module):
    """Norm, convolution, norm, scale and shift from the embedding, convolution; then attention.

    ADM resamples inside such blocks, and leaves every group of a norm `min_channels` channels or more.
    """

    def __init__(self, block: Block, embedding_width: int, dropout: float, min_channels: int) -> None:
        super().__init__()
        before, after = block.in_channels, block.out_channels
        self.resampling = block.resampling
        self.norm0 = scale_shift_norm(before, min_channels)
        self.conv0 = nn.Conv2d(before, after, 3, padding=1)
        self.affine = nn.Linear(embedding_width, 2 * after)
        self.norm1 = scale_shift_norm(after, min_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv1 = zero_init(nn.Conv2d(after, after, 3, padding=1))
        self.skip = nn.Conv2d(before, after, 1) if block.projects_skip else nn.Identity()
        self.attention = _attention(after, block.heads, min_channels) if block.attention else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, in, H, W] to [B, out, H', W'], H' being H halved, doubled or kept; `embedding` is [B, E].

        Conditioning is GroupNorm(h) * (w + 1) + b.
        """
        h = self.conv0(resample(F.silu(self.norm0(x)), self.resampling))
        w, b = self.affine(embedding)[:, :, None, None].chunk(2, dim=1)
        h = F.silu(self.norm1(h) * (w + 1) + b)
        x = self.skip(resample(x, self.resampling)) + self.conv1(self.dropout(h))
        return x if self.attention is None else x + self.attention(x)


class ResamplingConv(nn.Module):
    """Halve images by a convolution of stride 2, or double them by repeating pixels and a convolution."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.doubles = block.resampling == "double"
        self.conv = nn.Conv2d(
            block.in_channels, block.out_channels, 3, stride=1 if self.doubles else 2, padding=1
        )

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, H', W']. Only residual blocks are conditioned: `embedding` plays no part."""
        resampled: Tensor = self.conv(resample(x, "double") if self.doubles else x)
        return resampled


class UNetNet(EncoderDecoderNet):
    """iDDPM's U-Net: the last layer of every branch, and of the network, starts at zero.

    Its ImageNet-64 form (channel_mult (1, 2, 3, 4), 3 blocks, attention at 16 and 8) has 30.30
    / 68.13 / 121.06 / 272.28 M parameters for C = 64 / 96 / 128 / 192, and 79.5 GFLOP = 39.7
    GMAC for C = 128 [P1 p11 rounds these]. To every digit they hold for six output channels,
    noise and learned variance of three colours; with three, the noise alone, there are 0.01 %
    fewer parameters. Raises ValueError when the configuration does not fit the resolution.
    """

    def __init__(self, config: UNet, shape: NetShape) -> None:
        super().__init__()
        layout = unet_layout(config, shape)
        width = layout.width
        wide = layout.embedding_width
        last = layout.decoder[-1].out_channels
        augment = shape.augment_labels
        self.width = width
        self.feature_channels = last
        self.embedding_channels = wide
        self.dropout = config.dropout
        self.map0 = nn.Linear(width, wide)
        self.map1 = nn.Linear(wide, wide)
        self.has_null_label = config.has_null_label
        self.map_label = nn.Embedding(layout.num_labels, wide) if layout.num_labels else None
        self.map_augment = zero_init(nn.Linear(augment, wide, bias=False)) if augment else None

        def build(block: Block) -> nn.Module:
            return (
                ResidualBlock(block, wide, config.dropout, config.min_group_channels)
                if block.kind == "residual"
                else ResamplingConv(block)
            )

        self.trunk = EncoderDecoder(
            layout, nn.Conv2d(shape.in_channels, layout.first_channels, 3, padding=1), build
        )
        self.norm = scale_shift_norm(last, config.min_group_channels)
        self.last = zero_init(nn.Conv2d(last, shape.out_channels, 3, padding=1))

    def embed(self, c_noise: Tensor, label: Tensor | None, augment: Tensor | None = None) -> Tensor:
        """Activated embedding [B, 4 C] of noise level, class and augmentation, which are added up."""
        waves = sinusoidal_embedding(c_noise, self.width, endpoint=False, sine_first=False)
        embedding: Tensor = self.map1(F.silu(self.map0(waves)))
        if self.map_label is not None and label is not None:
            # The first row stands for "no label" where the network knows that.
            embedding = embedding + self.map_label(label + 1 if self.has_null_label else label)
        if self.map_augment is not None and augment is not None:
            embedding = embedding + self.map_augment(augment)
        return F.silu(embedding)


def scale_shift_norm(channels: int, min_channels: int) -> GroupNorm:
    """The norm of iDDPM and ADM."""
    return GroupNorm(channels, min_channels=min_channels, eps=1e-5)


def _attention(channels: int, heads: int, min_channels: int) -> SelfAttention:
    attention = SelfAttention(channels, heads, scale_shift_norm(channels, min_channels))
    zero_init(attention.proj)
    return attention
