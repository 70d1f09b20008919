"""The published name of a network, where it is one of those that papers describe. Imports no torch."""

from functools import cache

from engine.backbones.base import ModelBase, Published
from engine.backbones.registry import BACKBONES


@cache
def all_published() -> tuple[Published, ...]:
    """The published networks of all kinds. P3's counts are those of its released code."""
    return tuple(entry for kind in BACKBONES.values() for entry in kind.published_networks())


def published(model: ModelBase) -> Published | None:
    """The published network that a configuration equals in everything that makes its layers;
    None without one.

    Dropout, the label input and DyDiT's budget may differ, and with them nothing but the label's own weights.
    The images may differ too.
    """
    for entry in type(model).published_networks():
        if _layer_settings(entry.model) == _layer_settings(model):
            return entry
    return None


def _layer_settings(model: ModelBase) -> dict[str, object]:
    """The settings that make a network's layers.
    A divided width is among them, so smoke networks have no name."""
    return {name: value for name, value in model if name not in model.not_named}
