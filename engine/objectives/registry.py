"""The one list of objectives: the files of this package."""

from typing import TYPE_CHECKING

from engine.kinds import Kinds, built_in
from engine.objectives.base import ObjectiveBase

OBJECTIVES: Kinds[type[ObjectiveBase]] = Kinds("objective", built_in("engine.objectives", ObjectiveBase))
"""The configuration of every objective, by its name."""

if TYPE_CHECKING:
    Objective = ObjectiveBase
else:
    Objective = OBJECTIVES.union()
    """Any objective, told apart by its `kind`."""
