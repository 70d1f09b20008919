"""What both nets share: down, across and up again with skip connections, and from there to the output."""

from abc import abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.backbones.layout import Block, Layout


class Trunk(nn.Module):
    """First convolution, encoder, middle and decoder of a layout, each block made by `build`."""

    def __init__(self, layout: Layout, first: nn.Conv2d, build: Callable[[Block], nn.Module]) -> None:
        super().__init__()
        self.first = first
        self.encoder = nn.ModuleList(map(build, layout.encoder))
        self.middle = nn.ModuleList(map(build, layout.middle))
        self.decoder = nn.ModuleList(map(build, layout.decoder))
        self.takes_skip = [block.resampling == "keep" for block in layout.decoder]

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Features [B, last decoder channels, H, W] of images `x` [B, C, H, W]; every block gets `embedding` [B, E]."""
        h: Tensor = self.first(x)
        skips = [h]
        for block in self.encoder:
            h = block(h, embedding)
            skips.append(h)
        for block in self.middle:
            h = block(h, embedding)
        for block, takes_skip in zip(self.decoder, self.takes_skip, strict=True):
            h = block(torch.cat([h, skips.pop()], dim=1) if takes_skip else h, embedding)
        return h


class TrunkNet(nn.Module):
    """A network that is an embedding, a trunk, a norm and a last convolution; a subclass makes them."""

    trunk: Trunk
    norm: nn.Module
    last: nn.Conv2d

    def forward(
        self, x: Tensor, c_noise: Tensor, label: Tensor | None = None, augment: Tensor | None = None
    ) -> Tensor:
        """Output [B, out_channels, H, W] for images `x` [B, C, H, W], `c_noise` [B], classes `label` int64 [B] and
        augmentation labels `augment` [B, augment_labels].

        `augment` None means zeros, images as they are. Label -1 means none, for a network with label dropout alone:
        numbers are not checked here, and in another network -1 is an index out of range.
        An unconditional network ignores the label. Raises ValueError when a conditional one gets none, and when a
        network without augmentation labels gets some.
        """
        return self.readout(self.features(x, c_noise, label, augment))

    def features(
        self, x: Tensor, c_noise: Tensor, label: Tensor | None = None, augment: Tensor | None = None
    ) -> Tensor:
        """What the decoder ends with, [B, feature_channels, H, W], before the last norm; same arguments as the call."""
        features: Tensor = self.trunk(x, self.embed(c_noise, label, augment))
        return features

    def readout(self, features: Tensor) -> Tensor:
        """Output [B, out_channels, H, W] of features [B, feature_channels, H, W]."""
        output: Tensor = self.last(F.silu(self.norm(features)))
        return output

    @abstractmethod
    def embed(self, c_noise: Tensor, label: Tensor | None, augment: Tensor | None = None) -> Tensor:
        """Embedding [B, E] of noise level, class and augmentation."""
