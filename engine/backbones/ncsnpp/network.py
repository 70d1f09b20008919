"""The NCSN++ U-Net as EDM trains it [P3 Table 8 and released code; playbook A.5]."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.backbones.ddpmpp.network import SKIP_SCALE, DdpmPlusPlusNet, ResidualBlock
from engine.backbones.ncsnpp.config import NcsnPlusPlus
from engine.backbones.shape import NetShape
from engine.backbones.shared.layers import xavier_init
from engine.backbones.unets.encoder_decoder import EncoderDecoder
from engine.backbones.unets.layout import Block, Layout, Resampling

FREQUENCY_STD = 16.0
"""Standard deviation of the random frequencies of the noise level."""


def smooth_resample(x: Tensor, resampling: Resampling) -> Tensor:
    """Halve or double images [B, C, H, W] by the filter [1, 3, 3, 1] down and across, or keep them.

    Beyond the image there are zeros. A constant image stays constant but at its edge.
    """
    match resampling:
        case "halve":
            return F.conv2d(x, smooth_filters(x), stride=2, padding=1, groups=x.shape[1])
        case "double":
            return F.conv_transpose2d(x, 4 * smooth_filters(x), stride=2, padding=1, groups=x.shape[1])
        case "keep":
            return x


def smooth_filters(x: Tensor) -> Tensor:
    """The filter [1, 3, 3, 1] / 8 down and across for each channel of `x` [B, C, H, W]: [C, 1, 4, 4]."""
    taps = (4 - 2 * (torch.arange(4, device=x.device, dtype=x.dtype) - 1.5).abs()) / 8
    return torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)


class SmoothHalving(nn.Module):
    """The filter [1, 3, 3, 1] at full resolution and a 3x3 convolution of stride 2:
    the residual encoder's step."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.conv = xavier_init(nn.Conv2d(block.image_channels, block.out_channels, 3, stride=2))

    def forward(self, x: Tensor) -> Tensor:
        """[B, image channels, H, W] to [B, out, H / 2, W / 2].
        Two zeros a side are all the padding both need."""
        smoothed = F.conv2d(x, smooth_filters(x), padding=2, groups=x.shape[1])
        halved: Tensor = self.conv(smoothed)
        return halved


class ResidualEncoder(EncoderDecoder):
    """An encoder and decoder whose way down joins each halved
    level to the image, and the sum to the level after.

    The sum, scaled by sqrt(1/2), takes the place of the halving block's output.
    """

    def __init__(self, layout: Layout, first: nn.Conv2d, build: Callable[[Block], nn.Module]) -> None:
        super().__init__(layout, first, build)
        self.joins_image = [block.image_channels > 0 for block in layout.encoder]
        self.image_path = nn.ModuleList(
            SmoothHalving(block) for block in layout.encoder if block.image_channels
        )

    def encode(self, x: Tensor, embedding: Tensor) -> list[Tensor]:
        """What the way down leaves for the way up:
        the outputs of the first convolution and of every block."""
        skips = [self.first(x)]
        image = x
        image_path = iter(self.image_path)
        for block, joins_image in zip(self.encoder, self.joins_image, strict=True):
            h = self.run(block, skips[-1], embedding)
            if joins_image:
                h = image = SKIP_SCALE * (h + next(image_path)(image))
            skips.append(h)
        return skips


class NcsnPlusPlusNet(DdpmPlusPlusNet):
    """NCSN++: DDPM++ with random Fourier features, smooth resampling and a residual encoder.

    EDM's CIFAR-10 form (C = 128, channel_mult (2, 2, 2), 4 blocks, nine augmentation labels) has 56.40 M
    parameters. The frequencies of the features are drawn once and kept with the weights. Raises ValueError
    when the configuration does not fit the resolution.
    """

    frequencies: Tensor

    def __init__(self, config: NcsnPlusPlus, shape: NetShape) -> None:
        super().__init__(config, shape)
        self.register_buffer("frequencies", FREQUENCY_STD * torch.randn(self.noise_features // 2))

    def waves(self, c_noise: Tensor) -> Tensor:
        """Sines and cosines of 2 pi f c_noise, [B, 2 C]."""
        angles = c_noise.float()[:, None] * (2 * math.pi * self.frequencies)
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    def make_encoder_decoder(self, layout: Layout, first: nn.Conv2d, dropout: float) -> EncoderDecoder:
        """The blocks of DDPM++ with smooth resampling, the way down joined to the image."""
        wide = layout.embedding_width
        return ResidualEncoder(
            layout, first, lambda block: ResidualBlock(block, wide, dropout, resample=smooth_resample)
        )
