"""What a table of a report tells of itself."""

from collections.abc import Callable
from dataclasses import dataclass

from engine.kinds import LAST
from reports.read.overview import Overview
from reports.tables.table import Table


@dataclass(frozen=True, kw_only=True)
class TableKind:
    """A table that a report may show."""

    name: str
    """As a grid's `report.tables` names it; also the name of its files."""
    title: str
    build: Callable[[Overview], Table | None]
    """The table of a sweep, or None when it does not apply to it."""
    position: int = LAST
    """Its place in the document."""
