"""The configuration of ADM [P3 Table 8; playbook A.5]. Imports no torch."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from engine.backbones.base import Count, Counts, Ints, Probability, Published
from engine.backbones.shape import IMAGENET64, NetShape
from engine.backbones.unets.base import UNetBase
from engine.backbones.unets.variant import UNetVariant

if TYPE_CHECKING:
    from torch import nn


class Adm(UNetBase):
    """The ADM U-Net as EDM trains it on ImageNet-64 [P3 Table 8; playbook A.5].

    EDM's code makes other shapes with `first_width: first_level` and `narrow_attention: none`; at its
    own, whose first level has C channels and whose heads have all their channels, these change nothing.
    """

    position: ClassVar[int] = 3
    variant: ClassVar[UNetVariant] = UNetVariant(
        modulations=2, label="embedding", augment="features", attends_throughout=True, plain_skip=True
    )

    kind: Literal["adm"] = "adm"
    channels: int = Field(default=192, ge=1)
    """First-layer channels C; every level has C times its multiplier."""
    channel_mult: Ints = (1, 2, 3, 4)
    """Channel multiplier of each resolution level, from the image size down by halves."""
    num_blocks: Count | Counts = 3
    """Residual blocks a level on the way down (the way up has one more):
    one number, or one for each level."""
    attention_resolutions: Annotated[tuple[int, ...], Field(strict=False)] = (32, 16, 8)
    """Resolutions, in pixels, whose blocks have self-attention."""
    head_channels: int = Field(default=64, ge=1)
    """Channels of an attention head: ImageNet-64's levels have 6, 9 and 12 heads."""
    first_width: Literal["channels", "first_level"] = "channels"
    """Channels of the first convolution: C, or as in EDM's
    code those of the first level, C times its multiplier."""
    narrow_attention: Literal["one_head", "none"] = "one_head"
    """A block of an attention resolution with fewer channels than a
    head attends with one head, or as in EDM's code not at all."""
    dropout: Probability = 0.1
    """Dropout probability inside residual blocks."""

    def heads(self, channels: int) -> int:
        """Heads of `head_channels` channels each, or a few more where that does not divide the channels.

        A smoke run divides the channels of a head like every other width. 0 where `narrow_attention` is none.
        """
        most = channels // max(1, self.head_channels // self.width_divisor)
        if most == 0 and self.narrow_attention == "none":
            return 0
        return max((heads for heads in range(1, most + 1) if channels % heads == 0), default=1)

    def first_channels(self, width: int) -> int:
        """C, or those of the first level."""
        return width * self.channel_mult[0] if self.first_width == "first_level" else width

    def build(self, shape: NetShape) -> "nn.Module":
        """The network with fresh weights."""
        from engine.backbones.adm.network import AdmNet

        return AdmNet(self, shape)

    @classmethod
    def published_networks(cls) -> tuple[Published, ...]:
        """EDM's ImageNet-64 network."""
        model = cls(class_conditional=True)
        return (Published("ADM", model, IMAGENET64, 295.9, "P3 Table 8 and released code; playbook A.5"),)
