"""A backbone: one convolution that is told neither noise level nor label."""

from typing import TYPE_CHECKING, Literal

from engine.backbones.base import ModelBase
from engine.backbones.shape import NetShape

if TYPE_CHECKING:
    from torch import nn


class OneConvolution(ModelBase):
    """The smallest network there is; nothing is known of its cost."""

    kind: Literal["one_convolution"] = "one_convolution"

    def build(self, shape: NetShape) -> "nn.Module":
        """A 3 x 3 convolution from the image to the image."""
        from torch import Tensor, nn

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(shape.in_channels, shape.out_channels, 3, padding=1)

            def forward(
                self, x: Tensor, c_noise: Tensor, label: Tensor | None, augment: Tensor | None = None
            ) -> Tensor:
                found: Tensor = self.conv(x)
                return found

        return Net()
