"""What every U-Net answers, from its layout. Imports no torch."""

from collections.abc import Mapping
from typing import ClassVar

from engine.backbones.base import DROPOUT_LEVELS, FP32
from engine.backbones.cost import Layer
from engine.backbones.linked_rules import LinkedRule
from engine.backbones.shape import NetShape
from engine.backbones.unets.activations import unet_activations, unet_checkpointed
from engine.backbones.unets.cost import unet_layers
from engine.backbones.unets.layout import unet_layout
from engine.backbones.unets.linked_rules import lr_from_channels
from engine.backbones.unets.settings import UNetSettings

UNET_CHANNELS = (64, 96, 128, 192)
"""First-layer channels C of the iDDPM U-Net [P1 p11; playbook 2.1, A.6]."""


class UNetBase(UNetSettings):
    """A U-Net: a kind adds its `variant`, its heads and its network."""

    levels: ClassVar[Mapping[str, tuple[float, ...]]] = {"channels": UNET_CHANNELS, "dropout": DROPOUT_LEVELS}
    linked_rules: ClassVar[Mapping[str, LinkedRule]] = {"lr_from_channels": lr_from_channels}
    has_head_features: ClassVar[bool] = True

    @property
    def reference_width(self) -> int:
        """The first layer's channels."""
        return self.channels

    def head_feature_channels(self, shape: NetShape) -> int:
        """Channels of the decoder's output."""
        return unet_layout(self, shape).decoder[-1].out_channels

    def head_embedding_width(self, shape: NetShape) -> int:
        """Four times the width."""
        return unet_layout(self, shape).embedding_width

    def layers(self, shape: NetShape) -> tuple[Layer, ...]:
        """Its layers in the order in which an image passes them. Raises ValueError as `unet_layout` does."""
        return tuple(unet_layers(self, shape))

    def activation_bytes(self, shape: NetShape, width: int = FP32) -> int:
        """Bytes kept of one forward pass for each image."""
        return unet_activations(self, shape, width)

    def checkpointed_bytes(self, shape: NetShape, width: int = FP32) -> int:
        """Bytes kept for each image where only the blocks' inputs are."""
        return unet_checkpointed(self, shape, width)
