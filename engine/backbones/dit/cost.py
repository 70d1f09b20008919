"""What DiT costs, layer by layer. Imports no torch."""

from collections.abc import Iterator

from engine.backbones.cost import Cost, Layer, linear, products
from engine.backbones.dit.layout import DitLayout, dit_layout
from engine.backbones.dit.settings import TransformerSettings
from engine.backbones.shape import NetShape
from engine.backbones.shared.conditions_cost import conditions_cost


def dit_layers(model: TransformerSettings, shape: NetShape) -> Iterator[Layer]:
    """The layers of a DiT in the order in which an image passes them.
    The fixed positions are no parameters."""
    layout = dit_layout(model, shape)
    yield Layer("embedding", conditions_cost(model, shape, layout.width))
    yield Layer("patches", linear(layout.patch_features, layout.width, layout.tokens))
    for number in range(model.depth):
        yield Layer(f"block {number}: {layout.width} at {layout.tokens} tokens", _block(layout))
    yield Layer("last layer", linear(layout.width, 2 * layout.width) + _last(layout))


def attention_cost(layout: DitLayout) -> Cost:
    """One block's attention: q k v, scores, weighted sum, projection: 4 N d^2 + 2 N^2 d [P5]."""
    projections = linear(layout.width, 3 * layout.width, layout.tokens) + linear(
        layout.width, layout.width, layout.tokens
    )
    return projections + products(layout.tokens, layout.width)


def mlp_cost(layout: DitLayout) -> Cost:
    """One block's MLP: 8 N d^2 [P5]."""
    hidden = layout.hidden_width
    return linear(layout.width, hidden, layout.tokens) + linear(hidden, layout.width, layout.tokens)


def skippable_cost(layout: DitLayout) -> Cost:
    """Attention and MLPs of all blocks: what a DyDiT may skip of them."""
    block = attention_cost(layout) + mlp_cost(layout)
    return Cost(layout.depth * block.params, layout.depth * block.macs)


def _block(layout: DitLayout) -> Cost:
    return linear(layout.width, 6 * layout.width) + attention_cost(layout) + mlp_cost(layout)


def _last(layout: DitLayout) -> Cost:
    return linear(layout.width, layout.patch_size**2 * layout.shape.out_channels, layout.tokens)
