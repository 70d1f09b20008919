"""The feature extractors there are: one file each in `kinds/`, and those of installed packages."""

from typing import TYPE_CHECKING

from engine.kinds import Kinds, built_in
from engine.metrics.extractors.base import Extractor

EXTRACTORS: Kinds[Extractor] = Kinds(
    "extractor",
    built_in("engine.metrics.extractors.kinds", Extractor),
    group="orch.extractors",
    base=Extractor,
)

if TYPE_CHECKING:
    ExtractorName = str
else:
    ExtractorName = EXTRACTORS.names()
