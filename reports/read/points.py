"""Points of the grid that turned out to be another point's cell."""

from engine.records.record import JsonObject
from reports.read.axes import AxisValues, without_seeds
from reports.read.configuration import Configuration
from reports.read.overview import Overview
from reports.read.sweep import SweepResults


def collapsed_points(sweep: SweepResults) -> list[JsonObject]:
    """Axes of grid points that turned out to be another's cell, without seeds and the panel's sampler."""
    found: list[JsonObject] = []
    for group in sweep.manifest.collapsed:
        for point in group.points:
            axes = without_seeds(point)
            axes.pop("sampler", None)
            found.append(axes)
    return found


def grid_points(overview: Overview) -> list[tuple[AxisValues, Configuration]]:
    """Every point of the grid that has a result: collapsed points have that of the cell they are."""
    own = {cell_id: one for one in overview.configurations for cell_id in one.cell_ids}
    found: list[tuple[AxisValues, Configuration]] = [(one.axes, one) for one in overview.configurations]
    for group in overview.sweep.manifest.collapsed:
        if group.cell_id in own:
            found += [(point, own[group.cell_id]) for point in group.points]
    return found
