"""Tables of a report: one file each. To add one, write its file and one line here."""

from collections.abc import Callable

from reports.read.overview import Overview
from reports.tables import (
    best_samplers,
    consistency,
    few_step,
    flops_quality,
    nfe_quality,
    sampler_grid,
    scale_quality,
    scaling_law,
)
from reports.tables.table import Column, Shown, Table

TABLES: dict[str, Callable[[Overview], Table | None]] = {
    "scale_quality": scale_quality.build,
    "scaling_law": scaling_law.build,
    "flops_quality": flops_quality.build,
    "nfe_quality": nfe_quality.build,
    "few_step": few_step.build,
    "best_samplers": best_samplers.build,
    "sampler_grid": sampler_grid.build,
    "consistency": consistency.build,
}
"""Name -> builder; a builder returns None when its table does not apply to a sweep."""

__all__ = ["TABLES", "Column", "Shown", "Table"]
