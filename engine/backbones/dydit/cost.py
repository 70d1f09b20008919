"""What DyDiT's routers and choices add to a DiT: cost and memory. Imports no torch."""

from collections.abc import Collection, Iterator

from engine.backbones.base import FP32
from engine.backbones.cost import Cost, Layer, linear, sum_of
from engine.backbones.dit.cost import dit_layers
from engine.backbones.dit.layout import DitLayout, dit_layout
from engine.backbones.dit.settings import TransformerSettings
from engine.backbones.dydit.routes import Route
from engine.backbones.shape import NetShape

TOKEN_SQUEEZE = 16
"""The token router narrows a token's features by this much [P5, code]."""


def dydit_layers(model: TransformerSettings, routes: Collection[Route], shape: NetShape) -> Iterator[Layer]:
    """The layers of a DyDiT that skips nothing: a DiT's, with routers in every block."""
    layout = dit_layout(model, shape)
    routers = sum_of(_router(route, layout) for route in routes)
    for layer in dit_layers(model, shape):
        yield Layer(layer.name, layer.cost + routers) if layer.name.startswith("block") else layer


def squeezed_width(layout: DitLayout) -> int:
    """Hidden features of the token router."""
    return max(1, layout.width // TOKEN_SQUEEZE)


def choice_bytes(routes: Collection[Route], layout: DitLayout, width: int) -> int:
    """Bytes that autograd keeps of a block's products with the choices, beside what a DiT's block keeps.

    Products of heads; of hidden groups, where they are routed; of gates and tokens, in fp32. The token router
    keeps its input, in fp32 the norm's, and its hidden features.
    """
    numbers = (width + FP32) * layout.width
    if "groups" in routes:
        numbers += width * layout.hidden_width
    if "tokens" in routes:
        numbers += width * squeezed_width(layout)
        numbers += width * layout.width if width < FP32 else 0
    return layout.tokens * numbers


def _router(route: Route, layout: DitLayout) -> Cost:
    """Heads and groups are chosen from the noise embedding, all but the first;
    a token by a small MLP on it."""
    if route != "tokens":
        return linear(layout.width, layout.num_heads - 1)
    squeezed = squeezed_width(layout)
    return linear(layout.width, squeezed, layout.tokens) + linear(squeezed, 1, layout.tokens)
