"""What OCM's head costs. Imports no torch."""

from typing import Literal

from engine.backbones.cost import Cost, conv, norm
from engine.backbones.shape import NetShape


def head_cost(kind: Literal["simple", "complex"], width: int, shape: NetShape) -> Cost:
    """Cost of OCM's head on `width` channels of features, its backbone apart."""
    cost = norm(width) + conv(width, shape.in_channels, 3, shape.resolution)
    if kind == "complex":
        for _ in range(2):
            cost += norm(width) + conv(width, width, 3, shape.resolution)
    return cost
