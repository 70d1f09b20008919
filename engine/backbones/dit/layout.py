"""The sizes inside a transformer over patches, as plain data. Imports no torch."""

import math
from dataclasses import dataclass

from engine.backbones.dit.settings import TransformerSettings
from engine.backbones.shape import NetShape

MLP_RATIO = 4
"""Hidden features of a block's MLP for every feature of a token."""


@dataclass(frozen=True)
class DitLayout:
    """Sizes of a DiT."""

    shape: NetShape
    width: int
    """Features of a token."""
    num_heads: int
    depth: int
    patch_size: int

    @property
    def side(self) -> int:
        """Patches a side of the image."""
        return self.shape.resolution // self.patch_size

    @property
    def tokens(self) -> int:
        """Patches of an image."""
        return self.side**2

    @property
    def patch_features(self) -> int:
        """Numbers of a patch of the input."""
        return self.shape.in_channels * self.patch_size**2

    @property
    def hidden_width(self) -> int:
        """Hidden features of a block's MLP."""
        return MLP_RATIO * self.width


def dit_layout(model: TransformerSettings, shape: NetShape) -> DitLayout:
    """The sizes of a DiT, or of a DyDiT, for images of this shape.

    A divided width (`width_divisor`) is rounded up to suit heads and positions. Raises ValueError when the
    patches do not tile the image, or when the undivided width does not suit.
    """
    if shape.resolution % model.patch_size:
        raise ValueError(
            f"patches of {model.patch_size} pixels do not tile an image of {shape.resolution} a side"
        )
    return DitLayout(
        shape=shape,
        width=_width(model),
        num_heads=model.num_heads,
        depth=model.depth,
        patch_size=model.patch_size,
    )


def _width(model: TransformerSettings) -> int:
    """Positions need a width of whole fours (sine and cosine of two coordinates), heads their own number."""
    multiple = math.lcm(4, model.num_heads)
    if model.width_divisor > 1:
        return math.ceil(max(1, model.width // model.width_divisor) / multiple) * multiple
    if model.width % multiple:
        raise ValueError(
            f"width {model.width} is no multiple of {multiple} (of 4 and of the number of heads)"
        )
    return model.width
