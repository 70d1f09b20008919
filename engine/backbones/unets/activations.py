"""What autograd keeps of a U-Net's forward pass for the backward pass, counted on paper. Imports no torch.

Group normalisation keeps its input in fp32 whatever the precision.
"""

from dataclasses import replace

from engine.backbones.base import FP32
from engine.backbones.shape import NetShape
from engine.backbones.unets.layout import Block, unet_layout
from engine.backbones.unets.settings import UNetSettings
from engine.backbones.unets.variant import UNetVariant


def unet_checkpointed(model: UNetSettings, shape: NetShape, width: int) -> int:
    """Bytes kept by a U-Net of which only the blocks' inputs are kept, and the inside of the largest.

    What the residual encoder keeps of the image lies outside of the blocks and stays.
    """
    layout = unet_layout(model, shape)
    blocks = [replace(block, image_channels=0) for block in layout.blocks]
    insides = [_block(layout.variant, block, model.dropout > 0, width) for block in blocks]
    inputs = layout.first_channels * shape.resolution**2
    inputs += sum(block.out_channels * block.resolution**2 for block in layout.blocks[:-1])
    return unet_activations(model, shape, width) - sum(insides) + max(insides) + width * inputs


def unet_activations(model: UNetSettings, shape: NetShape, width: int) -> int:
    """Bytes kept by a U-Net."""
    layout = unet_layout(model, shape)
    ends = width * shape.in_channels + (FP32 + 2 * width) * layout.decoder[-1].out_channels
    blocks = sum(_block(layout.variant, block, model.dropout > 0, width) for block in layout.blocks)
    # The embedding: waves, two layers, two activations in fp32, and the copy that the blocks take.
    embedding = (
        FP32 * (layout.noise_features + 4 * layout.embedding_width) + (width % FP32) * layout.embedding_width
    )
    return ends * shape.resolution**2 + blocks + embedding


def _block(variant: UNetVariant, block: Block, drops: bool, width: int) -> int:
    size = block.resolution
    pixels = size**2
    size_before = {"keep": size, "halve": 2 * size, "double": size // 2}[block.resampling]
    before = block.in_channels * size_before**2
    before_resampled = block.in_channels * pixels
    if block.kind == "conv":
        return width * (before_resampled if block.resampling == "double" else before)
    total = (FP32 + width) * before + width * before_resampled  # norm, activation, first convolution
    # The mean of 2x2 pixels and the smooth filter keep what they resample, repeating pixels does not.
    filters = block.resampling == "halve" or (variant.smooth and block.resampling == "double")
    if filters:
        total += width * before
    total += _skip(block, before, before_resampled, filters, width) + _image_path(block, width)
    total += _second_half(variant, block.out_channels * pixels, drops, width)
    return total + (_attention(block.out_channels, pixels, block.heads, width) if block.attention else 0)


def _second_half(variant: UNetVariant, numbers: int, drops: bool, width: int) -> int:
    """Norm, activation, dropout's mask of bytes, second convolution; a scale keeps what it multiplies."""
    return (FP32 + (1 + variant.modulations) * width + drops) * numbers


def _skip(block: Block, before: int, before_resampled: int, filters: bool, width: int) -> int:
    """Resampling and 1x1 convolution on the skip connection.
    In fp32 the norm keeps the block's input already."""
    resampled = width * before_resampled if block.projects_skip and block.resampling != "keep" else 0
    keeps_input = filters or (block.projects_skip and block.resampling == "keep")
    return resampled + (width * before if keeps_input and width < FP32 else 0)


def _image_path(block: Block, width: int) -> int:
    """The residual encoder's filter and convolution.
    In fp32 a norm, or the first convolution, keeps the image too."""
    size_before = 2 * block.resolution
    copy = size_before**2 if width < FP32 else 0
    return width * block.image_channels * (copy + (size_before + 1) ** 2)


def _attention(channels: int, pixels: int, heads: int, width: int) -> int:
    """Norm, convolution to q k v, these three, projection;
    of the scores only the softmax's sum for every row."""
    return (FP32 + 5 * width) * channels * pixels + FP32 * heads * pixels
