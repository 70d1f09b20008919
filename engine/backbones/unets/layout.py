"""What a U-Net is made of, as plain data: the network is built from it, its cost summed over it.
Imports no torch."""

import math
from dataclasses import dataclass
from typing import Literal

from engine.backbones.shape import NetShape
from engine.backbones.unets.settings import UNetSettings
from engine.backbones.unets.variant import UNetVariant

Resampling = Literal["keep", "halve", "double"]

GROUP = 4
"""Every width is a multiple of this, so that group normalisation and the noise embedding always fit."""


@dataclass(frozen=True)
class Block:
    """One block: a residual block (two 3x3 convolutions and the embedding) or a single 3x3 convolution."""

    kind: Literal["residual", "conv"]
    in_channels: int
    out_channels: int
    resolution: int
    """Pixels a side of the block's output; every convolution but a skipped one runs at this size."""
    resampling: Resampling = "keep"
    heads: int = 0
    """Heads of the self-attention that follows the residual block; 0 without attention."""
    plain_skip: bool = False
    """Where channels stay equal the skip connection has no weights, even if the image is resampled."""
    image_channels: int = 0
    """Channels of the image that the residual encoder halves,
    convolves and adds to the block's output; 0 if none."""

    @property
    def attention(self) -> bool:
        """Whether self-attention follows the residual block."""
        return self.heads > 0

    @property
    def projects_skip(self) -> bool:
        """Whether a 1x1 convolution stands on the skip connection."""
        resamples = self.resampling != "keep" and not self.plain_skip
        return self.in_channels != self.out_channels or resamples

    @property
    def words(self) -> str:
        """Such as: 128 to 256 at 16x16, attention."""
        change = {"keep": "", "halve": ", halves", "double": ", doubles"}[self.resampling]
        image = ", joins the image" if self.image_channels else ""
        attention = ", attention" if self.attention else ""
        size = f"{self.resolution}x{self.resolution}"
        return f"{self.in_channels} to {self.out_channels} at {size}{change}{image}{attention}"


@dataclass(frozen=True)
class Layout:
    """A whole U-Net: a 3x3 convolution to `first_channels`,
    encoder, middle, decoder, norm and a last 3x3 convolution.

    The outputs of the first convolution and of every encoder block wait on a stack. Each decoder block that
    keeps the resolution takes the latest one from it, joined to its input.
    """

    variant: UNetVariant
    shape: NetShape
    width: int
    """C, of which the widths of levels and embeddings are multiples."""
    first_channels: int
    num_labels: int
    """Entries of the label input: the classes and, in a table, a row for "no label".
    0 without a label input."""
    encoder: tuple[Block, ...]
    middle: tuple[Block, ...]
    decoder: tuple[Block, ...]

    @property
    def noise_features(self) -> int:
        """Sines and cosines of the noise level."""
        return self.variant.noise_features * self.width

    @property
    def embedding_width(self) -> int:
        """Features of the noise embedding, four times the width."""
        return 4 * self.width

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks in the order in which an image passes them."""
        return (*self.encoder, *self.middle, *self.decoder)


def unet_layout(model: UNetSettings, shape: NetShape) -> Layout:
    """The layout of a U-Net for images of this shape.

    Raises ValueError when the resolution cannot be halved once for each level after the first, or when the
    width does not suit the heads.
    """
    _check_halvings(shape.resolution, model.channel_mult)
    width = network_width(model)
    first = model.first_channels(width)
    encoder = _encoder(model, width, first, shape)
    lowest = encoder[-1].resolution
    channels = encoder[-1].out_channels
    return Layout(
        variant=model.variant,
        shape=shape,
        width=width,
        first_channels=first,
        num_labels=_label_entries(model, shape.num_classes),
        encoder=encoder,
        middle=(
            Block("residual", channels, channels, lowest, heads=model.heads(channels)),
            Block("residual", channels, channels, lowest),
        ),
        decoder=_decoder(model, width, first, encoder),
    )


def network_width(model: UNetSettings) -> int:
    """First-layer channels: `channels` as written, or, for a
    smoke run, a `width_divisor`-th of them, rounded up.

    A width must be a multiple of 4 and of iDDPM's number of heads; a divided one is rounded up to such a
    multiple. Raises ValueError when the undivided one is not.
    """
    # ADM's number of heads follows the channels and always
    # suits them, so that for 4 channels it divides 4, or is 0.
    multiple = math.lcm(GROUP, max(1, model.heads(GROUP)))
    if model.width_divisor > 1:
        return math.ceil(max(1, model.channels // model.width_divisor) / multiple) * multiple
    if model.channels % multiple:
        raise ValueError(
            f"channels {model.channels} is no multiple of {multiple} (of 4 and of the number of heads)"
        )
    return model.channels


def _label_entries(model: UNetSettings, num_classes: int) -> int:
    """A one-hot vector says "no label" by zeros; a table needs a row for it."""
    if not model.class_conditional:
        return 0
    return num_classes + (model.variant.label == "table" and model.has_null_label)


def _check_halvings(resolution: int, channel_mult: tuple[int, ...]) -> None:
    halvings = (resolution & -resolution).bit_length() - 1
    if len(channel_mult) - 1 > halvings:
        raise ValueError(
            f"channel_mult {channel_mult} halves the image {len(channel_mult) - 1} "
            f"times, but {resolution} pixels can be halved only {halvings} times: "
            f"use at most {halvings + 1} levels, or pad the images"
        )


def _resampler(
    model: UNetSettings, channels: int, size: int, resampling: Resampling, image_channels: int = 0
) -> Block:
    variant = model.variant
    return Block(
        variant.resampler,
        channels,
        channels,
        size,
        resampling,
        plain_skip=variant.plain_skip,
        image_channels=image_channels,
    )


def _residual(model: UNetSettings, before: int, after: int, size: int, attends: bool = True) -> Block:
    """A residual block that keeps the resolution, with attention if it attends at this resolution."""
    heads = model.heads(after) if attends and size in model.attention_resolutions else 0
    return Block("residual", before, after, size, heads=heads)


def _encoder(model: UNetSettings, width: int, first: int, shape: NetShape) -> tuple[Block, ...]:
    """The residual encoder's image has its own channels at first, then those of the block it was added to."""
    blocks: list[Block] = []
    channels = first
    image_channels = shape.in_channels
    for level, mult in enumerate(model.channel_mult):
        size = shape.resolution >> level
        if level > 0:
            joined = image_channels if model.variant.residual_encoder else 0
            blocks.append(_resampler(model, channels, size, "halve", joined))
            image_channels = channels
        for _ in range(model.blocks[level]):
            blocks.append(_residual(model, channels, width * mult, size))
            channels = width * mult
    return tuple(blocks)


def _decoder(model: UNetSettings, width: int, first: int, encoder: tuple[Block, ...]) -> tuple[Block, ...]:
    """One residual block a level more than on the way down."""
    skipped = [first, *(block.out_channels for block in encoder)]
    blocks = []
    channels = encoder[-1].out_channels
    size = encoder[-1].resolution
    for level, mult in reversed(list(enumerate(model.channel_mult))):
        for index in range(model.blocks[level] + 1):
            attends = model.variant.attends_throughout or index == model.blocks[level]
            blocks.append(_residual(model, channels + skipped.pop(), width * mult, size, attends))
            channels = width * mult
        if level > 0:
            size *= 2
            blocks.append(_resampler(model, channels, size, "double"))
    return tuple(blocks)
