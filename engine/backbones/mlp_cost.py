"""The sizes and the cost of the multilayer perceptron, layer by layer. Imports no torch."""

from collections.abc import Iterator

from engine.backbones.conditions_cost import conditions_cost
from engine.backbones.cost import Layer, linear, norm
from engine.config.model import Mlp
from engine.config.network_shape import NetShape


def mlp_width(model: Mlp) -> int:
    """Features of a hidden layer: `width`, or, for a smoke run, a `width_divisor`-th of it, at least 4."""
    return model.width if model.width_divisor == 1 else max(4, model.width // model.width_divisor)


def image_size(shape: NetShape, channels: int) -> int:
    """Numbers of an image with so many channels."""
    return channels * shape.resolution**2


def mlp_layers(model: Mlp, shape: NetShape) -> Iterator[Layer]:
    """The layers in the order in which an image passes them. A block has two linear layers and one on the
    embedding."""
    width = mlp_width(model)
    yield Layer("embedding", conditions_cost(model, shape, width))
    yield Layer("first layer", linear(image_size(shape, shape.in_channels), width))
    for number in range(model.depth):
        cost = norm(width) + linear(width, width) + linear(width, width) + linear(width, width)
        yield Layer(f"block {number}: {width}", cost)
    yield Layer("last layer", norm(width) + linear(width, image_size(shape, shape.out_channels)))
