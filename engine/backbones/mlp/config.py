"""The configuration of the multilayer perceptron, and what it costs. Imports no torch."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from engine.backbones.base import FP32, ModelBase
from engine.backbones.cost import Layer, linear, norm
from engine.backbones.shape import NetShape
from engine.backbones.shared.conditions_cost import FREQUENCIES, conditions_cost

if TYPE_CHECKING:
    from torch import nn


class Mlp(ModelBase):
    """A multilayer perceptron over flattened images, for
    points in the plane and other toys [companion text 004]."""

    position: ClassVar[int] = 7

    kind: Literal["mlp"] = "mlp"
    width: int = Field(default=128, ge=1)
    """Features of a hidden layer."""
    depth: int = Field(default=4, ge=1)
    """Residual blocks."""

    @property
    def features(self) -> int:
        """Features of a hidden layer: `width`, or, for a
        smoke run, a `width_divisor`-th of it, at least 4."""
        return self.width if self.width_divisor == 1 else max(4, self.width // self.width_divisor)

    def build(self, shape: NetShape) -> "nn.Module":
        """The network with fresh weights."""
        from engine.backbones.mlp.network import MlpNet

        return MlpNet(self, shape)

    def layers(self, shape: NetShape) -> tuple[Layer, ...]:
        """A block has two linear layers and one on the embedding."""
        width = self.features
        square = linear(width, width)
        block = norm(width) + square + square + square
        return (
            Layer("embedding", conditions_cost(self, shape, width)),
            Layer("first layer", linear(image_size(shape, shape.in_channels), width)),
            *(Layer(f"block {number}: {width}", block) for number in range(self.depth)),
            Layer("last layer", norm(width) + linear(width, image_size(shape, shape.out_channels))),
        )

    def activation_bytes(self, shape: NetShape, width: int = FP32) -> int:
        """The embedding is as wide as the rest and counts: waves, layers, SiLUs."""
        return self._kept_by(self.depth, shape, width)

    def checkpointed_bytes(self, shape: NetShape, width: int = FP32) -> int:
        """One block's inside, and every block's input."""
        return self._kept_by(1, shape, width) + self.depth * width * self.features

    def _kept_by(self, depth: int, shape: NetShape, width: int) -> int:
        """Bytes kept for each image by so many blocks and what stands around them."""
        features = self.features
        dropout = 1 if self.dropout > 0 else 0
        # In mixed precision every block keeps a copy of the embedding of its own.
        copies = depth if width < FP32 else 1
        embedding = FP32 * (FREQUENCIES + 3 * features) + width * copies * features
        blocks = depth * (FP32 + 3 * width + dropout) * features
        ends = width * image_size(shape, shape.in_channels) + (FP32 + width) * features
        return embedding + blocks + ends


def image_size(shape: NetShape, channels: int) -> int:
    """Numbers of an image with so many channels."""
    return channels * shape.resolution**2
