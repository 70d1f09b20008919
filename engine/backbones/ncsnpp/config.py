"""The configuration of NCSN++ [P3 Table 8; playbook A.5]. Imports no torch."""

from typing import TYPE_CHECKING, ClassVar, Literal

from engine.backbones.base import Ints, Probability, Published
from engine.backbones.shape import CIFAR10_AUGMENTED, NetShape
from engine.backbones.unets.base import UNetBase
from engine.backbones.unets.variant import UNetVariant

if TYPE_CHECKING:
    from torch import nn

SOURCE = "P3 Table 8 and released code; playbook A.5"


class NcsnPlusPlus(UNetBase):
    """The NCSN++ U-Net as EDM trains it: Fourier noise features,
    smooth resampling, a residual encoder [P3 Table 8]."""

    position: ClassVar[int] = 2
    variant: ClassVar[UNetVariant] = UNetVariant(
        modulations=1,
        label="features",
        augment="features",
        attends_throughout=False,
        noise_features=2,
        smooth=True,
        residual_encoder=True,
    )

    kind: Literal["ncsnpp"] = "ncsnpp"
    channel_mult: Ints = (2, 2, 2)
    """Channel multiplier of each resolution level, from the image size down by halves."""
    dropout: Probability = 0.13
    """Dropout probability inside residual blocks."""

    def heads(self, channels: int) -> int:
        """A single one."""
        return 1

    def build(self, shape: NetShape) -> "nn.Module":
        """The network with fresh weights."""
        from engine.backbones.ncsnpp.network import NcsnPlusPlusNet

        return NcsnPlusPlusNet(self, shape)

    @classmethod
    def published_networks(cls) -> tuple[Published, ...]:
        """EDM's CIFAR-10 network."""
        return (Published("NCSN++", cls(), CIFAR10_AUGMENTED, 56.4, SOURCE),)
