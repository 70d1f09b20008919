"""What the U-Nets share: down, across and up again with skip connections, and from there to the output."""

from abc import abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.backbones.network import Network
from engine.backbones.shared.checkpointing import Blocks
from engine.backbones.shared.layers import full_precision
from engine.backbones.unets.layout import Block, Layout


class EncoderDecoder(Blocks):
    """First convolution, encoder, middle and decoder of a layout, each block made by `build`."""

    def __init__(self, layout: Layout, first: nn.Conv2d, build: Callable[[Block], nn.Module]) -> None:
        super().__init__()
        self.first = first
        self.encoder = nn.ModuleList(map(build, layout.encoder))
        self.middle = nn.ModuleList(map(build, layout.middle))
        self.decoder = nn.ModuleList(map(build, layout.decoder))
        self.takes_skip = [block.resampling == "keep" for block in layout.decoder]

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Features [B, last decoder channels, H, W] of images `x` [B, C, H, W];
        every block gets `embedding` [B, E]."""
        skips = self.encode(x, embedding)
        h = skips[-1]
        for block in self.middle:
            h = self.run(block, h, embedding)
        for block, takes_skip in zip(self.decoder, self.takes_skip, strict=True):
            h = (
                self.run(joined, block, h, skips.pop(), embedding)
                if takes_skip
                else self.run(block, h, embedding)
            )
        return h

    def encode(self, x: Tensor, embedding: Tensor) -> list[Tensor]:
        """What the way down leaves for the way up:
        the outputs of the first convolution and of every block."""
        skips = [self.first(x)]
        for block in self.encoder:
            skips.append(self.run(block, skips[-1], embedding))
        return skips


def joined(block: nn.Module, h: Tensor, skip: Tensor, embedding: Tensor) -> Tensor:
    """A block on features and those of a skip connection, side by side:
    both are kept already, their copy is not."""
    after: Tensor = block(torch.cat([h, skip], dim=1), embedding)
    return after


class EncoderDecoderNet(Network):
    """A network that is an embedding, an encoder and decoder, a norm and a last convolution;
    a subclass makes them."""

    # The attribute is called `trunk` in every stored file of weights, and so keeps its name.
    trunk: EncoderDecoder
    norm: nn.Module
    last: nn.Conv2d
    map_label: nn.Module | None
    map_augment: nn.Module | None

    def forward(
        self, x: Tensor, c_noise: Tensor, label: Tensor | None = None, augment: Tensor | None = None
    ) -> Tensor:
        """Output [B, out_channels, H, W] for images `x` [B, C, H, W], `c_noise` [B], classes `label` int64
        [B] and augmentation labels `augment` [B, augment_labels].

        `augment` None means zeros, images as they are. Label -1 means none, for a network with label dropout
        alone: numbers are not checked here, and in another network -1 is an index out of range. An
        unconditional network ignores the label. Raises ValueError when a conditional one gets none, and when
        a network without augmentation labels gets some.
        """
        return self.readout(self.features(x, c_noise, label, augment))

    def features(
        self, x: Tensor, c_noise: Tensor, label: Tensor | None = None, augment: Tensor | None = None
    ) -> Tensor:
        """What the decoder ends with, [B, feature_channels, H, W], before the last norm;
        same arguments as the call."""
        return self.features_and_embedding(x, c_noise, label, augment)[0]

    def features_and_embedding(
        self, x: Tensor, c_noise: Tensor, label: Tensor | None = None, augment: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """`features`, and the activated embedding [B, E] of
        noise level, class and augmentation behind them."""
        if self.map_label is not None and label is None:
            raise ValueError("a class-conditional network needs a label for every image")
        if self.map_augment is None and augment is not None:
            raise ValueError("a network built without augmentation labels cannot be told of augmentation")
        # Embeddings have no pixels, so that fp32 costs them nothing, and rounding
        # on their way would blur the noise level of a whole image. They are rounded
        # once, at the end: every block's layer would otherwise keep a copy.
        with full_precision(x.device):
            embedding = self.embed(c_noise, label, augment)
        device = x.device.type
        if device != "meta" and torch.is_autocast_enabled(device):
            embedding = embedding.to(torch.get_autocast_dtype(device))
        features: Tensor = self.trunk(x, embedding)
        return features, embedding

    def readout(self, features: Tensor) -> Tensor:
        """Output [B, out_channels, H, W] of features [B, feature_channels, H, W]."""
        output: Tensor = self.last(F.silu(self.norm(features)))
        return output

    def parts_within(self) -> list[nn.Module]:
        """The blocks."""
        return [self.trunk]

    @abstractmethod
    def embed(self, c_noise: Tensor, label: Tensor | None, augment: Tensor | None = None) -> Tensor:
        """Embedding [B, E] of noise level, class and augmentation, activated:
        every block takes it as it is."""
