"""What autograd keeps of one forward pass for the backward pass, counted on paper. Imports no torch."""

from functools import cache

from engine.backbones.layout import Block, unet_layout
from engine.spec import Model, UNet

FULL = 4
"""Bytes of an fp32 number. Group normalisation keeps its input in fp32 whatever the precision."""


@cache
def activation_bytes(
    model: Model, *, resolution: int, in_channels: int, num_classes: int, width: int = FULL
) -> int:
    """Bytes kept for each image of a batch by the network `build_backbone` makes from the same arguments.

    `width` is the bytes of a number inside the layers: 4 in fp32, 2 in mixed precision. Every convolution, activation
    and norm keeps its input, a sum keeps nothing; a tensor that two of them keep counts once. Left out is what has no
    pixels: embeddings, and the norms' means. Raises ValueError when the model does not fit the resolution.
    """
    layout = unet_layout(model, resolution=resolution, in_channels=in_channels, num_classes=num_classes)
    blocks = (*layout.encoder, *layout.middle, *layout.decoder)
    ends = width * in_channels + (FULL + 2 * width) * layout.decoder[-1].out_channels
    return ends * resolution**2 + sum(_block(model, block, width) for block in blocks)


def _block(model: Model, block: Block, width: int) -> int:
    size = block.resolution
    pixels, size_before = size**2, {"keep": size, "halve": 2 * size, "double": size // 2}[block.resampling]
    before, before_resampled = block.in_channels * size_before**2, block.in_channels * pixels
    if block.kind == "conv":
        return width * (before_resampled if block.resampling == "double" else before)
    total = (FULL + width) * before + width * before_resampled  # norm, activation, first convolution
    if block.resampling == "halve":
        total += width * before  # the mean of 2x2 pixels
    total += _skip(block, before, before_resampled, width) + _second_half(model, block.out_channels * pixels, width)
    heads = model.num_heads if isinstance(model, UNet) else 1
    return total + (_attention(block.out_channels, pixels, heads, width) if block.attention else 0)


def _second_half(model: Model, numbers: int, width: int) -> int:
    """Norm, activation, dropout's mask of bytes, second convolution; iDDPM's scale keeps what it multiplies."""
    inputs = 3 if isinstance(model, UNet) else 2
    return (FULL + inputs * width + (1 if model.dropout > 0 else 0)) * numbers


def _skip(block: Block, before: int, before_resampled: int, width: int) -> int:
    """The 1x1 convolution on the skip connection. In fp32 the norm keeps the block's input already."""
    if not block.projects_skip:
        return 0
    resampled = width * before_resampled if block.resampling != "keep" else 0
    own_copy = width * before if width < FULL and block.resampling != "double" else 0
    return resampled + own_copy


def _attention(channels: int, pixels: int, heads: int, width: int) -> int:
    """Norm, convolution to q k v, these three, projection; of the scores only the softmax's sum for every row."""
    return (FULL + 5 * width) * channels * pixels + FULL * heads * pixels
