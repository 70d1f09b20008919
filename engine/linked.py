"""Derived hyper-parameters: values that must follow another when it moves."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.spec import Experiment


def lr_from_channels(anchor: "Experiment", point: "Experiment") -> float:
    """Learning rate of a widened U-Net: anchor lr / sqrt(C / anchor C) [P1 p11; playbook A.6].

    With iDDPM's anchor (C = 128, lr = 1e-4) this gives 1.41e-4, 1.15e-4, 1e-4, 8.16e-5 for C = 64, 96, 128, 192.
    """
    return anchor.train.lr / math.sqrt(point.model.channels / anchor.model.channels)


LINKED_RULES: dict[str, Callable[["Experiment", "Experiment"], float]] = {
    "lr_from_channels": lr_from_channels,
}
"""Rules a grid's `linked:` block may name; each maps (recipe anchor, point of the grid) to the linked value."""
