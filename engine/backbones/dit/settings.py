"""The settings that DiT and DyDiT share. Imports no torch."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from engine.backbones.base import DROPOUT_LEVELS, ModelBase

DIT_SIZES = {"S": (12, 384, 6), "B": (12, 768, 12), "L": (24, 1024, 16), "XL": (28, 1152, 16)}
"""Depth, width and heads of DiT's sizes [P5 Table 7 without L; playbook 2.6*, A.1]."""

DIT_PATCHES = (2, 4, 8)
"""Patch sizes [Peebles & Xie 2023]."""


class TransformerSettings(ModelBase):
    """Depth, heads and width make a size of Table 7 [P5; playbook 2.6*, A.1]."""

    levels: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "dropout": DROPOUT_LEVELS,
        "depth": tuple(sorted({depth for depth, _, _ in DIT_SIZES.values()})),
        "width": tuple(sorted({width for _, width, _ in DIT_SIZES.values()})),
        "num_heads": tuple(sorted({heads for _, _, heads in DIT_SIZES.values()})),
        "patch_size": DIT_PATCHES,
    }

    depth: int = Field(default=12, ge=1)
    """Transformer blocks."""
    width: int = Field(default=384, ge=1)
    """Features of a token."""
    num_heads: int = Field(default=6, ge=1)
    """Attention heads; the width is divided among them. DyDiT divides the MLP into as many groups."""
    patch_size: int = Field(default=2, ge=1)
    """Pixels, or latent positions, a side of the square that becomes a token."""
