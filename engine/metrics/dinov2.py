"""DINOv2's vision transformer, as EDM2 takes its features [Oquab et al. 2023; EDM2's code].

Names of modules are those of the published state dict, so that it loads as it is.
"""

import io
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.metrics.extractors.kinds.dinov2 import WEIGHTS
from engine.metrics.extractors.weights import WeightsNotFound

PATCH = 14
"""Pixels on a patch's side."""
IMAGE_SIZE = 224
"""Images are resized to this: 16 x 16 patches."""
TRAINED_GRID = 37
"""Patches on a side of the images that positions were learned for, 518 pixels wide."""
GRID_OFFSET = 0.1
"""Added to the patches on a side before positions are resampled:
the scale is 16.1 / 37, as in the release."""
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""ImageNet's, of colours in [0, 1]."""


class Dinov2(nn.Module):
    """Features float32 [B, width] of images uint8 [B, 1 or 3, H, W]:
    the class token behind the last layer norm.

    Grey images become three equal channels. Defaults are ViT-L's.
    """

    def __init__(self, width: int = 1024, depth: int = 24, heads: int = 16, grid: int = TRAINED_GRID) -> None:
        super().__init__()
        self.grid = grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid**2, width))
        # In the published state dict; only training masks patches.
        self.mask_token = nn.Parameter(torch.zeros(1, width))
        self.patch_embed = PatchEmbedding(width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images: Tensor) -> Tensor:
        """Resize, scale and look at the images."""
        patches = self.patch_embed(preprocess(images))
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1) + self.positions()
        for block in self.blocks:
            x = block(x)
        features: Tensor = self.norm(x)[:, 0]
        return features

    def positions(self) -> Tensor:
        """The learned position vectors [1, 1 + 16^2, width], resampled from those of larger images."""
        side = IMAGE_SIZE // PATCH
        if side == self.grid:
            return self.pos_embed
        own = self.pos_embed[:, :1]
        places = self.pos_embed[:, 1:]
        scale = (side + GRID_OFFSET) / self.grid
        maps = places.unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        maps = F.interpolate(maps, mode="bicubic", antialias=False, scale_factor=(scale, scale))
        return torch.cat([own, maps.flatten(2).mT], dim=1)


class PatchEmbedding(nn.Module):
    """A linear map of each patch of 14 x 14 pixels; patches row by row."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=PATCH, stride=PATCH)

    def forward(self, x: Tensor) -> Tensor:
        """Vectors [B, patches, width] of images [B, 3, H, W]."""
        vectors: Tensor = self.proj(x).flatten(2).mT
        return vectors


class Block(nn.Module):
    """Attention and an MLP, each behind a layer norm and scaled by a learned factor a channel."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        self.ls1 = LayerScale(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width)
        self.ls2 = LayerScale(width)

    def forward(self, x: Tensor) -> Tensor:
        """Vectors [B, N, width] to as many."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        out: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return out


class Attention(nn.Module):
    """Multi-head attention; rows of `qkv` are queries, keys, values, each head by head."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Vectors [B, N, width] to as many."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    """Two linear maps with an exact GELU between; four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Vectors [B, N, width] to as many."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class LayerScale(nn.Module):
    """A learned factor a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """x times the factors."""
        return x * self.gamma


def preprocess(images: Tensor) -> Tensor:
    """Float32 [B, 3, 224, 224] of images uint8 [B, 1 or 3, H, W]: bicubic with antialiasing,
    neither rounded nor cut off at 0 and 255, then ImageNet's mean and deviation [EDM2's code]."""
    pixels = images.expand(-1, 3, -1, -1).float()
    resized = F.interpolate(pixels, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bicubic", antialias=True)
    mean, std = (resized.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return (resized / 255 - mean) / std


def load_dinov2(weights_path: Path | None = None) -> tuple[Dinov2, bytes]:
    """The network and the bytes of its weights file;
    raises WeightsNotFound, also for a file of other tensors."""
    data = WEIGHTS.read(weights_path)
    state = torch.load(io.BytesIO(data), weights_only=True)
    with torch.device("meta"):  # the parameters are the file's: none are made first
        net = Dinov2()
    try:
        net.load_state_dict(state, assign=True)
    except RuntimeError as error:
        file = WEIGHTS.find(weights_path)
        found = str(error).splitlines()[:3]
        raise WeightsNotFound(
            f"{file} does not hold DINOv2 ViT-L/14 ({' '.join(found)}); {WEIGHTS.ways}"
        ) from None
    return net.eval().requires_grad_(False), data
