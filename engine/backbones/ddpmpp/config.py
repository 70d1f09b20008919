"""The configuration of DDPM++ [P3 Table 8; playbook A.5]. Imports no torch."""

from typing import TYPE_CHECKING, ClassVar, Literal

from engine.backbones.base import Ints, Probability, Published
from engine.backbones.shape import CIFAR10_AUGMENTED, FACES64_AUGMENTED, NetShape
from engine.backbones.unets.base import UNetBase
from engine.backbones.unets.variant import UNetVariant

if TYPE_CHECKING:
    from torch import nn

SOURCE = "P3 Table 8 and released code; playbook A.5"


class DdpmPlusPlus(UNetBase):
    """The DDPM++ U-Net as EDM trains it [P3 Table 8; playbook A.5]."""

    position: ClassVar[int] = 1
    variant: ClassVar[UNetVariant] = UNetVariant(
        modulations=1, label="features", augment="features", attends_throughout=False
    )

    kind: Literal["ddpmpp"] = "ddpmpp"
    channel_mult: Ints = (2, 2, 2)
    """Channel multiplier of each resolution level;
    (2, 2, 2) is EDM's, (1, 2, 2, 2) the original with a 4x4 level."""
    dropout: Probability = 0.13
    """Dropout probability inside residual blocks."""

    def heads(self, channels: int) -> int:
        """A single one."""
        return 1

    def build(self, shape: NetShape) -> "nn.Module":
        """The network with fresh weights."""
        from engine.backbones.ddpmpp.network import DdpmPlusPlusNet

        return DdpmPlusPlusNet(self, shape)

    @classmethod
    def published_networks(cls) -> tuple[Published, ...]:
        """EDM's CIFAR-10 network, and the one for faces and animals of 64 pixels."""
        four_levels = cls(channel_mult=(1, 2, 2, 2))
        return (
            Published("DDPM++", cls(), CIFAR10_AUGMENTED, 55.7, SOURCE),
            Published("DDPM++ with four levels", four_levels, FACES64_AUGMENTED, 61.8, SOURCE),
        )
