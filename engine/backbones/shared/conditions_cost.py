"""The sizes and the cost of the embeddings of noise level, class and augmentation. Imports no torch."""

from engine.backbones.base import ModelBase
from engine.backbones.cost import Cost, linear
from engine.backbones.shape import NetShape

FREQUENCIES = 256
"""Sines and cosines of the noise level that its embedding starts from."""


def label_rows(config: ModelBase, shape: NetShape) -> int:
    """Rows of the label table: the classes and, with label dropout, one for "no label";
    0 without a label input."""
    return shape.num_classes + config.has_null_label if config.class_conditional else 0


def conditions_cost(config: ModelBase, shape: NetShape, width: int) -> Cost:
    """Two linear layers on the noise level, the label's
    table, the augmentation's linear layer without bias."""
    noise = linear(FREQUENCIES, width) + linear(width, width)
    return (
        noise + Cost(label_rows(config, shape) * width, 0) + linear(shape.augment_labels, width, bias=False)
    )
