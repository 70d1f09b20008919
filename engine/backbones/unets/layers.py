"""Pieces that U-Nets are made of: group normalisation, attention over pixels, resampling."""

import torch.nn.functional as F
from torch import Tensor, nn

from engine.backbones.unets.layout import Resampling


def group_count(channels: int, min_channels: int) -> int:
    """Groups of a group normalisation: the largest divisor of `channels`, at most 32, that leaves every group
    `min_channels` channels or more.

    EDM leaves 4, which is its min(32, channels // 4). iDDPM always takes 32, which at its smallest C = 64
    leaves 2; leaving 2 gives the same for every published size and keeps smaller nets from normalising each
    channel alone. Leaving 1 is what its code does with those, where 32 divides the channels.
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


class SelfAttention(nn.Module):
    """Multi-head self-attention over pixels: norm, softmax(q k^T / sqrt(d)) v, projection.
    The caller adds x."""

    def __init__(self, channels: int, heads: int, norm: GroupNorm) -> None:
        super().__init__()
        self.heads = heads
        self.norm = norm
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape.

        Pixels stand before channels, which costs channels-last images no copy.
        Other images are copied: the fused kernels want each head's channels
        side by side, and without them every score would be held in memory.
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
