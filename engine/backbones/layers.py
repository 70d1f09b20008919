"""Pieces the U-Nets are made of: normalisation, noise embedding, attention, resampling, initialisation."""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.backbones.layout import Resampling

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """No autocast inside, whatever is around it. Tensors without memory have none to switch off."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def group_count(channels: int, min_channels: int) -> int:
    """Groups of a group normalisation: the largest divisor of `channels`, at most 32, that leaves every group
    `min_channels` channels or more.

    EDM leaves 4, which is its min(32, channels // 4). iDDPM always takes 32, which at its smallest C = 64
    leaves 2; leaving 2 gives the same for every published size and keeps smaller nets from normalising each
    channel alone.
    """
    most = max(1, min(32, channels // min_channels))
    return max(groups for groups in range(1, most + 1) if channels % groups == 0)


class GroupNorm(nn.GroupNorm):
    """Group normalisation computed in fp32 whatever the precision of its input, which the output keeps."""

    def __init__(self, channels: int, *, min_channels: int, eps: float) -> None:
        super().__init__(group_count(channels, min_channels), channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised `x` [B, C, H, W]."""
        return F.group_norm(x.float(), self.num_groups, self.weight, self.bias, self.eps).to(x.dtype)


def sinusoidal_embedding(c_noise: Tensor, channels: int, *, endpoint: bool, sine_first: bool) -> Tensor:
    """Sines and cosines [B, channels] of `c_noise` [B] at channels / 2 frequencies that fall geometrically
    from 1.

    With `endpoint` the last frequency is 1 / 10000 (EDM), without it the one after would be (iDDPM). EDM puts
    the sines first, iDDPM the cosines.
    """
    half = channels // 2
    exponents = torch.arange(half, device=c_noise.device, dtype=torch.float32) / (
        half - 1 if endpoint else half
    )
    angles = c_noise.float()[:, None] * torch.exp(-math.log(10_000) * exponents)
    spool_batches = (angles.sin(), angles.cos()) if sine_first else (angles.cos(), angles.sin())
    return torch.cat(spool_batches, dim=1)


def one_hot(label: Tensor, num_labels: int, *, has_null: bool) -> Tensor:
    """One-hot vectors fp32 [B, num_labels] of classes [B]; with `has_null`, zeros for label -1."""
    if not has_null:
        return F.one_hot(label, num_labels).float()
    return F.one_hot(label + 1, num_labels + 1)[:, 1:].float()


class SelfAttention(nn.Module):
    """Multi-head self-attention over pixels: norm, softmax(q k^T / sqrt(d)) v, projection. The caller adds
    x."""

    def __init__(self, channels: int, heads: int, norm: GroupNorm) -> None:
        super().__init__()
        self.heads = heads
        self.norm = norm
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape.

        Pixels stand before channels, which costs channels-last images no copy. Other images are copied: the
        fused kernels want each head's channels side by side, and without them every score would be held in
        memory.
        """
        batch, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1).contiguous()
        qkv = qkv.reshape(batch, height * width, 3, self.heads, channels // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        attended = attended.transpose(1, 2).reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        projected: Tensor = self.proj(attended)
        return projected


def resample(x: Tensor, resampling: Resampling) -> Tensor:
    """Halve images [B, C, H, W] by the mean of 2x2 pixels, double them by repeating pixels, or keep them."""
    match resampling:
        case "halve":
            return F.avg_pool2d(x, 2)
        case "double":
            return F.interpolate(x, scale_factor=2, mode="nearest")
        case "keep":
            return x


def xavier_init(layer: Layer, gain: float = 1.0) -> Layer:
    """The layer with zero bias and weights uniform on +-gain * sqrt(6 / (fan_in + fan_out))."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def zero_init(layer: Layer) -> Layer:
    """The layer with all weights 0, so that at first it adds nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
