"""What a figure of a report tells of itself."""

from collections.abc import Callable
from dataclasses import dataclass

from engine.kinds import LAST
from reports.figures.style import ReportFigure
from reports.read.overview import Overview


@dataclass(frozen=True, kw_only=True)
class FigureKind:
    """A figure that a report may show."""

    name: str
    """As a grid's `report.figures` names it; also the name of its file."""
    title: str
    plot: Callable[[Overview], ReportFigure | None]
    """The figure of a sweep, or None when it does not apply to it."""
    position: int = LAST
    """Its place in the document."""
