"""What DiT costs, layer by layer. Imports no torch."""

from collections.abc import Iterator

from engine.backbones.conditions_cost import conditions_cost
from engine.backbones.cost import Cost, Layer, linear, products
from engine.backbones.dit_layout import DitLayout, dit_layout
from engine.config.model import DyDit, Route, Transformers
from engine.config.network_shape import NetShape


def dit_layers(model: Transformers, shape: NetShape) -> Iterator[Layer]:
    """The layers of a DiT in the order in which an image passes them. The fixed positions are no
    parameters."""
    layout = dit_layout(model, shape)
    yield Layer("embedding", conditions_cost(model, shape, layout.width))
    yield Layer("patches", linear(layout.patch_features, layout.width, layout.tokens))
    for number in range(model.depth):
        yield Layer(f"block {number}: {layout.width} at {layout.tokens} tokens", _block(layout))
    yield Layer("last layer", linear(layout.width, 2 * layout.width) + _last(layout))


def dydit_layers(model: DyDit, shape: NetShape) -> Iterator[Layer]:
    """The layers of a DyDiT that skips nothing: a DiT's, with routers in every block."""
    layout = dit_layout(model, shape)
    routers = sum((_router(route, layout) for route in model.routes), Cost(0, 0))
    for layer in dit_layers(model, shape):
        yield Layer(layer.name, layer.cost + routers) if layer.name.startswith("block") else layer


def executed_cost(model: DyDit, shape: NetShape, ratio: float) -> Cost:
    """A DyDiT that executes the share `ratio` of its attention and MLPs; routers and everything else always
    run."""
    layout = dit_layout(model, shape)
    skippable = model.depth * (attention_cost(layout) + mlp_cost(layout)).macs
    whole = sum((layer.cost for layer in dydit_layers(model, shape)), Cost(0, 0))
    return Cost(whole.params, whole.macs - round((1 - ratio) * skippable))


def budget_cost(model: DyDit, shape: NetShape) -> Cost:
    """A DyDiT that meets its budget, `flops_ratio`."""
    return executed_cost(model, shape, model.flops_ratio)


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


def _block(layout: DitLayout) -> Cost:
    return linear(layout.width, 6 * layout.width) + attention_cost(layout) + mlp_cost(layout)


def _router(route: Route, layout: DitLayout) -> Cost:
    """Heads and groups are chosen from the noise embedding, all but the first; a token by a small MLP on
    it."""
    if route != "tokens":
        return linear(layout.width, layout.num_heads - 1)
    squeezed = layout.squeezed_width
    return linear(layout.width, squeezed, layout.tokens) + linear(squeezed, 1, layout.tokens)


def _last(layout: DitLayout) -> Cost:
    return linear(layout.width, layout.patch_size**2 * layout.shape.out_channels, layout.tokens)
