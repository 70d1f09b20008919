"""Grid files: from YAML to the experiments they stand for, every error with its line, column and field."""

from orchestrator.grid.expand import expand, points_for, search_dimensions
from orchestrator.grid.file import Grid, Overrides, Resources, Search
from orchestrator.grid.load import load_sweep
from orchestrator.grid.sweep import Point, Sweep

__all__ = [
    "Grid",
    "Overrides",
    "Point",
    "Resources",
    "Search",
    "Sweep",
    "expand",
    "load_sweep",
    "points_for",
    "search_dimensions",
]
