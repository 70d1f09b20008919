"""The U-shape both nets share: down, across, and up again with skip connections."""

from collections.abc import Callable

import torch
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
