"""What one forward pass costs, counted on paper: parameters and multiply-accumulates. Imports no torch."""

from dataclasses import dataclass
from functools import cache
from typing import Literal

from engine.backbones.layout import Block, Layout, unet_layout
from engine.spec import Model, UNet


@dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-accumulates of one forward pass of one image (one MAC is two FLOPs)."""

    params: int
    macs: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs)


@cache
def forward_cost(
    model: Model,
    *,
    resolution: int,
    in_channels: int,
    num_classes: int,
    out_channels: int | None = None,
    augment_labels: int = 0,
) -> Cost:
    """Cost of the network `build_backbone` makes from the same arguments, fed with all its inputs.

    MACs count convolutions, linear layers and attention's two matrix products. Norms, activations, softmax, sums,
    resampling without weights and table look-ups are left out. A convolution counts its padding as pixels, as is usual.
    Raises ValueError when the model does not fit the resolution.
    """
    layout = unet_layout(
        model,
        resolution=resolution,
        in_channels=in_channels,
        num_classes=num_classes,
        out_channels=out_channels,
        augment_labels=augment_labels,
    )
    # iDDPM's embedding gives every channel a scale and a shift, DDPM++'s a shift alone.
    modulations = 2 if isinstance(model, UNet) else 1
    cost = _embedding(model, layout) + _conv(in_channels, layout.width, 3, resolution)
    for block in (*layout.encoder, *layout.middle, *layout.decoder):
        cost += _block(block, layout.embedding_width, modulations)
    last = layout.decoder[-1].out_channels
    return cost + _norm(last) + _conv(last, layout.out_channels, 3, resolution)


def head_cost(kind: Literal["simple", "complex"], width: int, in_channels: int, resolution: int) -> Cost:
    """Cost of OCM's head on features of `width` channels (`layout.decoder[-1].out_channels`), its backbone apart."""
    cost = _norm(width) + _conv(width, in_channels, 3, resolution)
    if kind == "complex":
        for _ in range(2):
            cost += _norm(width) + _conv(width, width, 3, resolution)
    return cost


def _embedding(model: Model, layout: Layout) -> Cost:
    """Two linear layers on the noise level; the label's linear layer on a one-hot vector, or iDDPM's table; and the
    augmentation labels' linear layer without bias."""
    width, embedding = layout.width, layout.embedding_width
    weights = layout.augment_labels * (embedding if isinstance(model, UNet) else width)
    cost = _linear(width, embedding) + _linear(embedding, embedding) + Cost(weights, weights)
    if layout.num_labels == 0:
        return cost
    if isinstance(model, UNet):
        return cost + Cost(layout.num_labels * embedding, 0)
    return cost + _linear(layout.num_labels, width)


def _block(block: Block, embedding: int, modulations: int) -> Cost:
    before, after, size = block.in_channels, block.out_channels, block.resolution
    if block.kind == "conv":
        return _conv(before, after, 3, size)
    cost = _norm(before) + _conv(before, after, 3, size) + _linear(embedding, modulations * after)
    cost += _norm(after) + _conv(after, after, 3, size)
    if block.projects_skip:
        cost += _conv(before, after, 1, size)
    return cost + _attention(after, size) if block.attention else cost


def _attention(channels: int, size: int) -> Cost:
    """Norm, q k v, scores, weighted sum, projection; how many heads share the channels makes no difference."""
    tokens = size * size
    products = Cost(0, 2 * tokens * tokens * channels)
    return _norm(channels) + _conv(channels, 3 * channels, 1, size) + products + _conv(channels, channels, 1, size)


def _conv(before: int, after: int, kernel: int, size: int) -> Cost:
    weights = before * after * kernel * kernel
    return Cost(weights + after, weights * size * size)


def _linear(before: int, after: int) -> Cost:
    return Cost(before * after + after, before * after)


def _norm(channels: int) -> Cost:
    return Cost(2 * channels, 0)
