"""What one forward pass of any network costs:
parameters and multiply-accumulates, by layer and in all. No torch."""

from functools import cache

from engine.backbones.base import ModelBase
from engine.backbones.cost import Cost, Layer, sum_of
from engine.backbones.shape import NetShape


@cache
def forward_layers(model: ModelBase, shape: NetShape) -> tuple[Layer, ...] | None:
    """The layers of a network, fed with all its inputs; None where its kind does not count them.

    Counted once for each pair, because a plan asks for every cell.
    Raises ValueError when the model does not fit the resolution.
    """
    return model.layers(shape)


@cache
def forward_cost(model: ModelBase, shape: NetShape) -> Cost | None:
    """The sum over `forward_layers`."""
    layers = forward_layers(model, shape)
    return None if layers is None else sum_of(layer.cost for layer in layers)
