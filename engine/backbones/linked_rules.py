"""What a rule for a linked hyper-parameter reads, and what it is. Imports no torch."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from engine.backbones.base import ModelBase


class TrainedAt(Protocol):
    """The learning rate of a training."""

    @property
    def lr(self) -> float:
        """After its ramp, before any decay."""


class LinkedPoint(Protocol):
    """What a rule reads of an experiment: its network and how that is trained."""

    @property
    def model(self) -> "ModelBase":
        """The network."""

    @property
    def train(self) -> TrainedAt:
        """Its training."""


LinkedRule = Callable[[LinkedPoint, LinkedPoint], float]
"""(recipe anchor, point of the grid) -> the linked value.
Raises ValueError for a network that it does not know."""
