"""The one list of backbones: the folders of this package, and those that installed packages offer."""

from typing import TYPE_CHECKING

from engine.backbones.base import ModelBase
from engine.kinds import Kinds, built_in

BACKBONES: Kinds[type[ModelBase]] = Kinds(
    "backbone",
    built_in("engine.backbones", ModelBase, inside="config"),
    group="orch.backbones",
    base=ModelBase,
)
"""The configuration of every kind of network, by its name."""

if TYPE_CHECKING:
    Model = ModelBase
else:
    Model = BACKBONES.union()
    """Any network, told apart by its `kind`."""
