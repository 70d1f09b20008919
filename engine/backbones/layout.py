"""What a U-Net is made of, as plain data: the network is built from it, its cost summed over it. Imports no torch."""

import math
from dataclasses import dataclass
from typing import Literal

from engine.spec import DdpmPlusPlus, Model, UNet

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
    attention: bool = False
    """Self-attention follows the residual block."""

    @property
    def projects_skip(self) -> bool:
        """Whether a 1x1 convolution stands on the skip connection: shapes differ, or the image is resampled."""
        return self.in_channels != self.out_channels or self.resampling != "keep"


@dataclass(frozen=True)
class Layout:
    """A whole U-Net: a 3x3 convolution to `width` channels, encoder, middle, decoder, norm and a last 3x3 convolution.

    The outputs of the first convolution and of every encoder block wait on a stack. Each decoder block that keeps the
    resolution takes the latest one from it, joined to its input.
    """

    resolution: int
    in_channels: int
    out_channels: int
    width: int
    num_labels: int
    """Entries of the label input: the classes and, in iDDPM's table, a row for "no label". 0 without a label input."""
    augment_labels: int
    """Numbers that tell the network how an image was augmented; 0 without that input."""
    encoder: tuple[Block, ...]
    middle: tuple[Block, ...]
    decoder: tuple[Block, ...]

    @property
    def embedding_width(self) -> int:
        """Features of the noise embedding, four times the width."""
        return 4 * self.width


def unet_layout(
    model: Model,
    *,
    resolution: int,
    in_channels: int,
    num_classes: int,
    out_channels: int | None = None,
    augment_labels: int = 0,
) -> Layout:
    """The layout of a model for images of `resolution` pixels a side.

    `out_channels` None means as many as `in_channels`. Raises ValueError when the resolution cannot be halved once for
    each level after the first, or when the width does not suit the heads.
    """
    _check_halvings(resolution, model.channel_mult)
    width = network_width(model)
    encoder = _encoder(model, width, resolution)
    lowest, channels = encoder[-1].resolution, encoder[-1].out_channels
    return Layout(
        resolution=resolution,
        in_channels=in_channels,
        out_channels=in_channels if out_channels is None else out_channels,
        width=width,
        num_labels=_label_entries(model, num_classes),
        augment_labels=augment_labels,
        encoder=encoder,
        middle=(
            Block("residual", channels, channels, lowest, attention=True),
            Block("residual", channels, channels, lowest),
        ),
        decoder=_decoder(model, width, encoder),
    )


def has_null_label(model: Model) -> bool:
    """Whether the network also learns without labels, which label -1 stands for."""
    return model.class_conditional and model.label_dropout > 0


def network_width(model: Model) -> int:
    """First-layer channels: `channels` as written, or, for a smoke run, a `width_divisor`-th of them, rounded up.

    A width must be a multiple of 4 and of the number of heads; a divided one is rounded up to such a multiple.
    Raises ValueError when the undivided one is not.
    """
    multiple = math.lcm(GROUP, model.num_heads) if isinstance(model, UNet) else GROUP
    if model.width_divisor > 1:
        return math.ceil(max(1, model.channels // model.width_divisor) / multiple) * multiple
    if model.channels % multiple:
        raise ValueError(f"channels {model.channels} is no multiple of {multiple} (of 4 and of the number of heads)")
    return model.channels


def _label_entries(model: Model, num_classes: int) -> int:
    """DDPM++ writes "no label" as zeros in place of a one-hot vector; iDDPM's table needs a row for it."""
    if not model.class_conditional:
        return 0
    return num_classes + 1 if isinstance(model, UNet) and has_null_label(model) else num_classes


def _check_halvings(resolution: int, channel_mult: tuple[int, ...]) -> None:
    halvings = (resolution & -resolution).bit_length() - 1
    if len(channel_mult) - 1 > halvings:
        raise ValueError(
            f"channel_mult {channel_mult} halves the image {len(channel_mult) - 1} times, but {resolution} pixels can "
            f"be halved only {halvings} times: use at most {halvings + 1} levels, or pad the images"
        )


def _resampler(model: Model) -> Literal["residual", "conv"]:
    """DDPM++ resamples inside a residual block, iDDPM by a convolution of its own."""
    return "residual" if isinstance(model, DdpmPlusPlus) else "conv"


def _encoder(model: Model, width: int, resolution: int) -> tuple[Block, ...]:
    blocks, channels = [], width
    for level, mult in enumerate(model.channel_mult):
        size = resolution >> level
        if level > 0:
            blocks.append(Block(_resampler(model), channels, channels, size, "halve"))
        for _ in range(model.num_blocks):
            attention = size in model.attention_resolutions
            blocks.append(Block("residual", channels, width * mult, size, attention=attention))
            channels = width * mult
    return tuple(blocks)


def _decoder(model: Model, width: int, encoder: tuple[Block, ...]) -> tuple[Block, ...]:
    """One residual block a level more than on the way down; in DDPM++ only a level's last one has attention."""
    waiting = [width, *(block.out_channels for block in encoder)]
    blocks, channels, size = [], encoder[-1].out_channels, encoder[-1].resolution
    for level, mult in reversed(list(enumerate(model.channel_mult))):
        for index in range(model.num_blocks + 1):
            attends = index == model.num_blocks or not isinstance(model, DdpmPlusPlus)
            attention = attends and size in model.attention_resolutions
            blocks.append(Block("residual", channels + waiting.pop(), width * mult, size, attention=attention))
            channels = width * mult
        if level > 0:
            size *= 2
            blocks.append(Block(_resampler(model), channels, channels, size, "double"))
    return tuple(blocks)
