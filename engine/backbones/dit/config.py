"""The configuration of DiT [Peebles & Xie 2023; P5 Table 7; playbook A.1]. Imports no torch."""

from typing import TYPE_CHECKING, ClassVar, Literal

from engine.backbones.base import FP32, Published
from engine.backbones.cost import Layer
from engine.backbones.dit.activations import dit_activations, dit_checkpointed
from engine.backbones.dit.cost import dit_layers
from engine.backbones.dit.settings import DIT_SIZES, TransformerSettings
from engine.backbones.shape import LATENTS, NetShape

if TYPE_CHECKING:
    from torch import nn

DIT_MILLIONS = {"S": 33, "B": 130, "L": 458, "XL": 675}
"""Millions of parameters of each size with patches of 2 on 32x32x4 latents."""


class Dit(TransformerSettings):
    """DiT: a transformer over patches, conditioned by adaLN-Zero
    [Peebles & Xie 2023; P5 Table 7; playbook A.1]."""

    position: ClassVar[int] = 5

    kind: Literal["dit"] = "dit"

    def build(self, shape: NetShape) -> "nn.Module":
        """The network with fresh weights."""
        from engine.backbones.dit.network import DitNet

        return DitNet(self, shape)

    def layers(self, shape: NetShape) -> tuple[Layer, ...]:
        """Its layers in the order in which an image passes them. Raises ValueError as `dit_layout` does."""
        return tuple(dit_layers(self, shape))

    def activation_bytes(self, shape: NetShape, width: int = FP32) -> int:
        """Bytes kept of one forward pass for each image."""
        return dit_activations(self, shape, width)

    def checkpointed_bytes(self, shape: NetShape, width: int = FP32) -> int:
        """Bytes kept for each image where only the blocks' inputs are."""
        return dit_checkpointed(self, shape, width)

    @classmethod
    def published_networks(cls) -> tuple[Published, ...]:
        """The sizes with patches of 2, as trained for guidance on 256-pixel ImageNet's latents."""
        source = "Peebles & Xie 2023; P5 Table 7; playbook A.1"
        found = []
        for size, (depth, width, num_heads) in DIT_SIZES.items():
            model = cls(
                depth=depth, width=width, num_heads=num_heads, class_conditional=True, label_dropout=0.1
            )
            found.append(Published(f"DiT-{size}/2", model, LATENTS, DIT_MILLIONS[size], source))
        return tuple(found)
