"""What the U-Nets cost, layer by layer. Imports no torch."""

from collections.abc import Iterator

from engine.backbones.cost import Cost, Layer, conv, linear, norm, products
from engine.backbones.shape import NetShape
from engine.backbones.unets.layout import Block, Layout, unet_layout
from engine.backbones.unets.settings import UNetSettings

SMOOTH_TAPS = 4 * 4
"""Multiplications for each pixel, on the lower resolution's
side, of the filter [1, 3, 3, 1] down and across."""


def unet_layers(model: UNetSettings, shape: NetShape) -> Iterator[Layer]:
    """The layers of a U-Net in the order in which an image passes them."""
    layout = unet_layout(model, shape)
    yield Layer("embedding", _embedding(layout))
    yield Layer("first convolution", conv(shape.in_channels, layout.first_channels, 3, shape.resolution))
    for part, blocks in (("down", layout.encoder), ("middle", layout.middle), ("up", layout.decoder)):
        for number, block in enumerate(blocks):
            yield Layer(f"{part} {number}: {block.words}", _block(block, layout))
    last = layout.decoder[-1].out_channels
    yield Layer("last convolution", norm(last) + conv(last, shape.out_channels, 3, shape.resolution))


def _embedding(layout: Layout) -> Cost:
    """Two linear layers on the noise level, and what label and augmentation add."""
    variant = layout.variant
    features = layout.noise_features
    embedding = layout.embedding_width
    cost = linear(features, embedding) + linear(embedding, embedding)
    cost += linear(
        layout.shape.augment_labels, features if variant.augment == "features" else embedding, bias=False
    )
    return cost + _label(layout) if layout.num_labels else cost


def _label(layout: Layout) -> Cost:
    match layout.variant.label:
        case "features":
            return linear(layout.num_labels, layout.noise_features)
        case "embedding":
            return linear(layout.num_labels, layout.embedding_width, bias=False)
        case "table":
            return Cost(layout.num_labels * layout.embedding_width, 0)


def _block(block: Block, layout: Layout) -> Cost:
    before = block.in_channels
    after = block.out_channels
    size = block.resolution
    if block.kind == "conv":
        return conv(before, after, 3, size)
    cost = norm(before) + conv(before, after, 3, size)
    cost += linear(layout.embedding_width, layout.variant.modulations * after)
    cost += norm(after) + conv(after, after, 3, size)
    if block.projects_skip:
        cost += conv(before, after, 1, size)
    if layout.variant.smooth:
        cost += _smoothing(block)
    if block.image_channels:
        cost += _image_path(block)
    return cost + _attention(after, size) if block.attention else cost


def _smoothing(block: Block) -> Cost:
    """The filter on both ways through a block that resamples. It has no parameters, but runs as a convolution
    of each channel and counts as one."""
    lower = {"keep": 0, "halve": block.resolution, "double": block.resolution // 2}[block.resampling]
    return Cost(0, 2 * SMOOTH_TAPS * block.in_channels * lower**2)


def _image_path(block: Block) -> Cost:
    """The residual encoder: the image smoothed, one pixel
    more a side than it had, and a convolution of stride 2."""
    smoothing = SMOOTH_TAPS * block.image_channels * (2 * block.resolution + 1) ** 2
    return Cost(0, smoothing) + conv(block.image_channels, block.out_channels, 3, block.resolution)


def _attention(channels: int, size: int) -> Cost:
    """Norm, q k v, scores, weighted sum, projection."""
    projections = conv(channels, 3 * channels, 1, size) + conv(channels, channels, 1, size)
    return norm(channels) + projections + products(size * size, channels)
