"""The configuration of iDDPM's U-Net [P1 p11; playbook 2.0-2.3]. Imports no torch."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from engine.backbones.base import Count, Counts, Ints, Published
from engine.backbones.shape import CIFAR10, IMAGENET64_VARIANCE, NetShape
from engine.backbones.unets.base import UNetBase
from engine.backbones.unets.variant import UNetVariant

if TYPE_CHECKING:
    from torch import nn

FIVE_STAGES = (
    "The playbook reads the ImageNet-64 network as five stages. It is not the default: P1's released "
    "code has four levels, and the parameter counts P1 prints (30 / 68 / 120 / 270 M) are those of four."
)
FOUR_LEVELS = (
    "Four levels, as in P1's released code and by P1's parameter counts; the playbook's reading has five."
)

FOUR_LEVEL_MILLIONS = {64: 30.30, 96: 68.13, 128: 121.06, 192: 272.28}
FIVE_STAGE_MILLIONS = {64: 43.6, 96: 97.9, 128: 174.1, 192: 391.5}
"""Millions of parameters by the first layer's channels."""


class UNet(UNetBase):
    """The iDDPM U-Net: scale-shift conditioning, multi-head attention [P1 p11; playbook 2.0-2.3]."""

    position: ClassVar[int] = 4
    variant: ClassVar[UNetVariant] = UNetVariant(
        modulations=2, label="table", augment="embedding", attends_throughout=True, resampler="conv"
    )
    levels: ClassVar[Mapping[str, tuple[float, ...]]] = {**UNetBase.levels, "num_heads": (4,)}

    kind: Literal["unet"] = "unet"
    channel_mult: Ints = (1, 2, 3, 4)
    """Channel multiplier of each resolution level, from the image size down by halves."""
    num_blocks: Count | Counts = 3
    """Residual blocks a level on the way down (the way up has one more):
    one number, or one for each level."""
    attention_resolutions: Annotated[tuple[int, ...], Field(strict=False)] = (16, 8)
    """Resolutions, in pixels, whose blocks have self-attention."""
    num_heads: int = Field(default=4, ge=1)
    """Attention heads; the channels are divided among them."""
    min_group_channels: Literal[1, 2] = 2
    """Fewest channels of a norm's group. P1's code always has 32 groups, which is 1;
    from C = 64 on, its smallest, both are the same."""

    def heads(self, channels: int) -> int:
        """The same number at every level."""
        return self.num_heads

    def build(self, shape: NetShape) -> "nn.Module":
        """The network with fresh weights."""
        from engine.backbones.unet.network import UNetNet

        return UNetNet(self, shape)

    @classmethod
    def published_networks(cls) -> tuple[Published, ...]:
        """iDDPM's ImageNet-64 networks, each with the playbook's reading of it, and the one for CIFAR-10."""
        found = []
        for channels, millions in FOUR_LEVEL_MILLIONS.items():
            found.append(
                Published(
                    f"iDDPM ImageNet-64, C = {channels}",
                    cls(channels=channels),
                    IMAGENET64_VARIANCE,
                    millions,
                    "P1 p11 and released code; playbook A.6",
                    FOUR_LEVELS,
                )
            )
            found.append(
                Published(
                    f"iDDPM ImageNet-64 in five stages, C = {channels}",
                    cls(channels=channels, channel_mult=(1, 2, 3, 4, 4)),
                    IMAGENET64_VARIANCE,
                    FIVE_STAGE_MILLIONS[channels],
                    "playbook 2.0, 2.1",
                    FIVE_STAGES,
                )
            )
        source = "P1 p11 and released code; playbook 2.1"
        return (*found, Published("iDDPM CIFAR-10", cls(channel_mult=(1, 2, 2, 2)), CIFAR10, 52.5, source))
