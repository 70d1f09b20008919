"""What one forward pass of any network costs: parameters and multiply-accumulates, by layer and in all. No
torch."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Literal

from engine.backbones.cost import Cost, Layer, conv, norm
from engine.backbones.dit_cost import dit_layers, dydit_layers
from engine.backbones.layout import Layout
from engine.backbones.mlp_cost import mlp_layers
from engine.backbones.unet_cost import unet_layers
from engine.config.model import Model
from engine.config.network_shape import NetShape

LAYERS: dict[str, Callable[[Any, NetShape], Iterator[Layer]]] = {
    "adm": unet_layers,
    "ddpmpp": unet_layers,
    "dit": dit_layers,
    "dydit": dydit_layers,
    "mlp": mlp_layers,
    "ncsnpp": unet_layers,
    "unet": unet_layers,
}
"""The layers of each kind of network, in the order in which an image passes them."""


@cache
def forward_layers(model: Model, shape: NetShape) -> tuple[Layer, ...]:
    """The layers of the network `build_backbone` makes from the same arguments, fed with all its inputs.

    Raises ValueError when the model does not fit the resolution.
    """
    return tuple(LAYERS[model.kind](model, shape))


@cache
def forward_cost(model: Model, shape: NetShape) -> Cost:
    """The sum over `forward_layers`."""
    return sum((layer.cost for layer in forward_layers(model, shape)), Cost(0, 0))


def head_cost(kind: Literal["simple", "complex"], layout: Layout) -> Cost:
    """Cost of OCM's head on a U-Net's last features, its backbone apart."""
    width, in_channels, resolution = (
        layout.decoder[-1].out_channels,
        layout.shape.in_channels,
        layout.shape.resolution,
    )
    cost = norm(width) + conv(width, in_channels, 3, resolution)
    if kind == "complex":
        for _ in range(2):
            cost += norm(width) + conv(width, width, 3, resolution)
    return cost
