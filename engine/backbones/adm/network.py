"""The ADM U-Net as EDM trains it on ImageNet-64 [P3 Table 8 and released code; playbook A.5]."""

import torch.nn.functional as F
from torch import Tensor, nn

from engine.backbones.adm.config import Adm
from engine.backbones.shape import NetShape
from engine.backbones.shared.layers import one_hot, sinusoidal_embedding, zero_init
from engine.backbones.unet.network import ResidualBlock, scale_shift_norm
from engine.backbones.unets.encoder_decoder import EncoderDecoder, EncoderDecoderNet
from engine.backbones.unets.layout import unet_layout

# EDM's group normalisation leaves every group four channels or more.
MIN_CHANNELS = 4


class AdmNet(EncoderDecoderNet):
    """ADM: iDDPM's residual block, which here resamples too, and attention heads of 64 channels.

    Weights and biases start uniform on +-sqrt(1 / fan_in), which is Kaiming's range times sqrt(1/3) and
    PyTorch's own; the last layer of every branch, and of the network, at zero. EDM's ImageNet-64 form (C =
    192, channel_mult (1, 2, 3, 4), 3 blocks, 1,000 classes) has 295.9 M parameters. Raises ValueError when
    the configuration does not fit the resolution.
    """

    def __init__(self, config: Adm, shape: NetShape) -> None:
        super().__init__()
        layout = unet_layout(config, shape)
        width = layout.width
        wide = layout.embedding_width
        last = layout.decoder[-1].out_channels
        augment = shape.augment_labels
        self.width = width
        self.feature_channels = last
        self.embedding_channels = wide
        self.dropout = config.dropout
        self.num_labels = layout.num_labels
        self.has_null_label = config.has_null_label
        self.map0 = nn.Linear(width, wide)
        self.map1 = nn.Linear(wide, wide)
        self.map_label = _label_layer(layout.num_labels, wide) if layout.num_labels else None
        self.map_augment = zero_init(nn.Linear(augment, width, bias=False)) if augment else None
        first = nn.Conv2d(shape.in_channels, layout.first_channels, 3, padding=1)
        self.trunk = EncoderDecoder(
            layout, first, lambda block: ResidualBlock(block, wide, config.dropout, MIN_CHANNELS)
        )
        self.norm = scale_shift_norm(last, MIN_CHANNELS)
        self.last = zero_init(nn.Conv2d(last, shape.out_channels, 3, padding=1))

    def embed(self, c_noise: Tensor, label: Tensor | None, augment: Tensor | None = None) -> Tensor:
        """Activated embedding [B, 4 C]: augmentation joins the
        waves of the noise level, the class their embedding."""
        waves = sinusoidal_embedding(c_noise, self.width, endpoint=False, sine_first=False)
        if self.map_augment is not None and augment is not None:
            waves = waves + self.map_augment(augment)
        embedding: Tensor = self.map1(F.silu(self.map0(waves)))
        if self.map_label is not None and label is not None:
            embedding = embedding + self.map_label(
                one_hot(label, self.num_labels, has_null=self.has_null_label)
            )
        return F.silu(embedding)


def _label_layer(num_labels: int, width: int) -> nn.Linear:
    """A linear layer without bias whose weights start standard normal:
    Kaiming's, times the root of the classes."""
    layer = nn.Linear(num_labels, width, bias=False)
    nn.init.normal_(layer.weight)
    return layer
