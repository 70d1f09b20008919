"""The data sets there are: one file each in `sets/`, and those of installed packages."""

from typing import TYPE_CHECKING

from engine.data.base import Dataset
from engine.kinds import Kinds, built_in

DATASETS: Kinds[Dataset] = Kinds(
    "data set", built_in("engine.data.sets", Dataset), group="orch.datasets", base=Dataset
)

if TYPE_CHECKING:
    DatasetName = str
else:
    DatasetName = DATASETS.names()
