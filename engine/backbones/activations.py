"""What autograd keeps of one forward pass for the backward pass, counted on paper. Imports no torch."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from engine.backbones.conditions_cost import FREQUENCIES
from engine.backbones.dit_layout import DitLayout, dit_layout
from engine.backbones.family import Family
from engine.backbones.layout import Block, unet_layout
from engine.backbones.mlp_cost import image_size, mlp_width
from engine.config.model import DyDit, Mlp, Model, Transformers, UNets
from engine.config.network_shape import NetShape

FULL = 4
"""Bytes of an fp32 number. Group normalisation keeps its input in fp32 whatever the precision."""


@cache
def activation_bytes(model: Model, shape: NetShape, width: int = FULL) -> int:
    """Bytes kept for each image of a batch by the network `build_backbone` makes from the same arguments.

    `width` is the bytes of a number inside the layers: 4 in fp32, 2 in mixed precision. Every convolution,
    activation and norm keeps its input, a sum keeps nothing; a tensor that two of them keep counts once. Left
    out are the norms' means and the embeddings of labels. Raises ValueError when the model does not fit the
    resolution.
    """
    return ACTIVATIONS[model.kind](model, shape, width)


@cache
def checkpointed_bytes(model: Model, shape: NetShape, width: int = FULL) -> int:
    """Bytes kept for each image with gradient checkpointing: every block's input, and the inside of one
    block.

    The backward pass computes the insides again, one at a time; the largest counts. Arguments and errors are
    those of `activation_bytes`.
    """
    if isinstance(model, UNets):
        return _checkpointed_unet(model, shape, width)
    one_block = activation_bytes(model.model_copy(update={"depth": 1}), shape, width)
    if isinstance(model, Mlp):
        return one_block + model.depth * width * mlp_width(model)
    layout = dit_layout(model, shape)
    # The positions, which are fp32, make the tokens so.
    return one_block + layout.depth * FULL * layout.tokens * layout.width


def _checkpointed_unet(model: UNets, shape: NetShape, width: int) -> int:
    """What the residual encoder keeps of the image lies outside of the blocks and stays."""
    layout = unet_layout(model, shape)
    blocks = [replace(block, image_channels=0) for block in layout.blocks]
    insides = [_block(layout.family, block, model.dropout > 0, width) for block in blocks]
    inputs = layout.width * shape.resolution**2
    inputs += sum(block.out_channels * block.resolution**2 for block in layout.blocks[:-1])
    return activation_bytes(model, shape, width) - sum(insides) + max(insides) + width * inputs


def unet_activations(model: UNets, shape: NetShape, width: int) -> int:
    """Bytes kept by a U-Net."""
    layout = unet_layout(model, shape)
    ends = width * shape.in_channels + (FULL + 2 * width) * layout.decoder[-1].out_channels
    blocks = sum(_block(layout.family, block, model.dropout > 0, width) for block in layout.blocks)
    # The embedding: waves, two layers, two activations in fp32, and the copy that the blocks take.
    embedding = (
        FULL * (layout.noise_features + 4 * layout.embedding_width) + (width % FULL) * layout.embedding_width
    )
    return ends * shape.resolution**2 + blocks + embedding


def _block(family: Family, block: Block, drops: bool, width: int) -> int:
    size = block.resolution
    pixels, size_before = size**2, {"keep": size, "halve": 2 * size, "double": size // 2}[block.resampling]
    before, before_resampled = block.in_channels * size_before**2, block.in_channels * pixels
    if block.kind == "conv":
        return width * (before_resampled if block.resampling == "double" else before)
    total = (FULL + width) * before + width * before_resampled  # norm, activation, first convolution
    # The mean of 2x2 pixels and the smooth filter keep what they resample, repeating pixels does not.
    filters = block.resampling == "halve" or (family.smooth and block.resampling == "double")
    if filters:
        total += width * before
    total += _skip(block, before, before_resampled, filters, width) + _image_path(block, width)
    total += _second_half(family, block.out_channels * pixels, drops, width)
    return total + (_attention(block.out_channels, pixels, block.heads, width) if block.attention else 0)


def _second_half(family: Family, numbers: int, drops: bool, width: int) -> int:
    """Norm, activation, dropout's mask of bytes, second convolution; a scale keeps what it multiplies."""
    return (FULL + (1 + family.modulations) * width + drops) * numbers


def _skip(block: Block, before: int, before_resampled: int, filters: bool, width: int) -> int:
    """Resampling and 1x1 convolution on the skip connection. In fp32 the norm keeps the block's input
    already."""
    resampled = width * before_resampled if block.projects_skip and block.resampling != "keep" else 0
    keeps_input = filters or (block.projects_skip and block.resampling == "keep")
    return resampled + (width * before if keeps_input and width < FULL else 0)


def _image_path(block: Block, width: int) -> int:
    """The residual encoder's filter and convolution. In fp32 a norm, or the first convolution, keeps the
    image too."""
    size_before = 2 * block.resolution
    copy = size_before**2 if width < FULL else 0
    return width * block.image_channels * (copy + (size_before + 1) ** 2)


def _attention(channels: int, pixels: int, heads: int, width: int) -> int:
    """Norm, convolution to q k v, these three, projection; of the scores only the softmax's sum for every
    row."""
    return (FULL + 5 * width) * channels * pixels + FULL * heads * pixels


def dit_activations(model: Transformers, shape: NetShape, width: int) -> int:
    """Bytes kept by a DiT, or by a DyDiT's training, which multiplies by its choices."""
    layout = dit_layout(model, shape)
    block = _dit_block(layout, width) + (2 * layout.tokens * layout.width if model.dropout > 0 else 0)
    if isinstance(model, DyDit):
        block += _choices(model, layout, width)
    ends = width * layout.tokens * layout.patch_features + _modulated(layout, width)
    return ends + model.depth * block


def _dit_block(layout: DitLayout, width: int) -> int:
    """Both norms; q, k, v, their mix and the softmax's sum for every row; the MLP around its activation; two
    gates."""
    attention = 4 * width * layout.width + FULL * layout.num_heads
    mlp = 2 * width * layout.hidden_width
    return 2 * _modulated(layout, width) + layout.tokens * (attention + mlp + 2 * width * layout.width)


def _modulated(layout: DitLayout, width: int) -> int:
    """The norm keeps its input in fp32, the scale what it multiplies, the layer after them its input."""
    return (2 * FULL + width) * layout.tokens * layout.width


def _choices(model: DyDit, layout: DitLayout, width: int) -> int:
    """Products with the choices: of heads; of hidden groups, where they are routed; of gates and tokens, in
    fp32.

    The token router keeps its input, in fp32 the norm's, and its hidden features.
    """
    numbers = (width + FULL) * layout.width
    if "groups" in model.routes:
        numbers += width * layout.hidden_width
    if "tokens" in model.routes:
        numbers += width * layout.squeezed_width + (width * layout.width if width < FULL else 0)
    return layout.tokens * numbers


def mlp_activations(model: Mlp, shape: NetShape, width: int) -> int:
    """Bytes kept by a multilayer perceptron. Its embedding is as wide as the rest and counts: waves, layers,
    SiLUs."""
    features, dropout = mlp_width(model), 1 if model.dropout > 0 else 0
    # In mixed precision every block keeps a copy of the embedding of its own.
    copies = model.depth if width < FULL else 1
    embedding = FULL * (FREQUENCIES + 3 * features) + width * copies * features
    blocks = model.depth * (FULL + 3 * width + dropout) * features
    ends = width * image_size(shape, shape.in_channels) + (FULL + width) * features
    return embedding + blocks + ends


ACTIVATIONS: dict[str, Callable[[Any, NetShape, int], int]] = {
    "adm": unet_activations,
    "ddpmpp": unet_activations,
    "dit": dit_activations,
    "dydit": dit_activations,
    "mlp": mlp_activations,
    "ncsnpp": unet_activations,
    "unet": unet_activations,
}
"""What each kind of network keeps: (model, shape, bytes of a number) -> bytes."""
