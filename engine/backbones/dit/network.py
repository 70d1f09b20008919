"""DiT: a transformer over patches, conditioned by adaLN-Zero
[Peebles & Xie 2023; P5 Table 7; playbook 2.6*, A.1]."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.backbones.dit.layout import DitLayout, dit_layout
from engine.backbones.dit.settings import TransformerSettings
from engine.backbones.shape import NetShape
from engine.backbones.shared.checkpointing import Blocks
from engine.backbones.shared.conditions import Conditions
from engine.backbones.shared.layers import sinusoidal_embedding, xavier_init, zero_init


class Attention(nn.Module):
    """Multi-head self-attention over tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = xavier_init(nn.Linear(width, 3 * width))
        self.proj = xavier_init(nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, D] to the same shape."""
        projected: Tensor = self.proj(merge_heads(self.attend(self.qkv(x))))
        return projected

    def attend(self, qkv: Tensor) -> Tensor:
        """softmax(q k^T / sqrt(d)) v of every head, [B, H, N, d], of `qkv` [B, N, 3 H d]."""
        batch, tokens, features = qkv.shape
        parts = qkv.reshape(batch, tokens, 3, self.heads, features // (3 * self.heads))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(query, key, value)


class DitBlock(nn.Module):
    """Attention and MLP, each after a norm that the embedding shifts and scales and before a gate it opens.

    All six modulations start at zero (adaLN-Zero), so at first the block is the identity.
    """

    def __init__(self, layout: DitLayout, dropout: float) -> None:
        super().__init__()
        width = layout.width
        self.modulation = zero_init(nn.Linear(width, 6 * width))
        self.attention = Attention(width, layout.num_heads)
        self.widen = xavier_init(nn.Linear(width, layout.hidden_width))
        self.narrow = xavier_init(nn.Linear(layout.hidden_width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, N, D] to the same shape; `embedding` is [B, D]."""
        shift0, scale0, gate0, shift1, scale1, gate1 = self.modulation(F.silu(embedding))[:, None].chunk(
            6, dim=-1
        )
        x = x + gate0 * self.dropout(self.attention(modulated(x, shift0, scale0)))
        x = x + gate1 * self.dropout(self.mlp(modulated(x, shift1, scale1)))
        return x

    def mlp(self, x: Tensor) -> Tensor:
        """Two linear layers with a GELU (its tanh form) between them, [..., D] to the same shape."""
        narrowed: Tensor = self.narrow(F.gelu(self.widen(x), approximate="tanh"))
        return narrowed


class DitNet(Blocks):
    """DiT for images or latents; size S / B / L / XL at patch
    2 on 32x32x4 has 33 / 130 / 458 / 675 M parameters.

    Positions are fixed. The last layer starts at zero, and with it the network's output.
    Raises ValueError when the configuration does not fit the resolution.
    """

    def __init__(self, config: TransformerSettings, shape: NetShape) -> None:
        super().__init__()
        layout = dit_layout(config, shape)
        self.config = config
        self.layout = layout
        width = layout.width
        self.conditions = Conditions(config, shape, width)
        self.patches = xavier_init(nn.Linear(layout.patch_features, width))
        self.register_buffer("positions", positions(layout.side, width), persistent=False)
        self.blocks = nn.ModuleList(self.build_block() for _ in range(layout.depth))
        self.modulation = zero_init(nn.Linear(width, 2 * width))
        self.last = zero_init(nn.Linear(width, layout.patch_size**2 * shape.out_channels))

    def build_block(self) -> nn.Module:
        """One block; DyDiT makes its own."""
        return DitBlock(self.layout, self.config.dropout)

    def forward(
        self, x: Tensor, c_noise: Tensor, label: Tensor | None = None, augment: Tensor | None = None
    ) -> Tensor:
        """Output [B, out_channels, H, W] for images `x` [B, C, H, W], `c_noise` [B], classes `label` int64
        [B] and augmentation labels `augment` [B, augment_labels]; None and -1 mean what they mean for every
        other backbone.

        Raises ValueError when a conditional network gets no label, and when a network without augmentation
        labels gets some.
        """
        embedding, noise = self.conditions(c_noise, label, augment)
        tokens = self.patches(to_patches(x, self.layout.patch_size)) + self.positions
        tokens = self.run_blocks(tokens, embedding, noise)
        shift, scale = self.modulation(F.silu(embedding))[:, None].chunk(2, dim=-1)
        return to_images(self.last(modulated(tokens, shift, scale)), self.layout.patch_size)

    def run_blocks(self, tokens: Tensor, embedding: Tensor, noise: Tensor) -> Tensor:
        """All blocks on tokens [B, N, D]; `noise` [B, D] is the embedding of the noise level alone."""
        for block in self.blocks:
            tokens = self.run(block, tokens, embedding)
        return tokens


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """LayerNorm(x) * (1 + scale) + shift; the norm has no weights and is computed in fp32."""
    normalised = F.layer_norm(x.float(), x.shape[-1:], eps=1e-6).to(x.dtype)
    return normalised * (1 + scale) + shift


def merge_heads(attended: Tensor) -> Tensor:
    """[B, H, N, d] to [B, N, H d]."""
    return attended.transpose(1, 2).flatten(2)


def to_patches(x: Tensor, size: int) -> Tensor:
    """Images [B, C, H, W] to patches [B, N, C size^2], row by row."""
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height // size, size, width // size, size)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * size**2)


def to_images(tokens: Tensor, size: int) -> Tensor:
    """Tokens [B, N, size^2 C] to images [B, C, H, W]:
    the inverse order, but with channels last inside a token."""
    batch, count, features = tokens.shape
    side = math.isqrt(count)
    channels = features // size**2
    x = tokens.reshape(batch, side, side, size, size, channels).permute(0, 5, 1, 3, 2, 4)
    return x.reshape(batch, channels, side * size, side * size)


def positions(side: int, width: int) -> Tensor:
    """Fixed positions [side^2, width]: sines and cosines of
    the column in the first half, of the row in the second."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    halves = [
        sinusoidal_embedding(places.flatten().float(), width // 2, endpoint=False, sine_first=True)
        for places in (columns, rows)
    ]
    return torch.cat(halves, dim=1)
