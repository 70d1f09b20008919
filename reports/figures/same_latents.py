"""The same latents under every solver and cost: what a solver's error looks like [P2 5.2; playbook 5.2]."""

import io
from typing import Any

import matplotlib.image
import numpy as np

from reports.figures.base import FigureKind
from reports.figures.style import MUTED, ReportFigure, new_grid
from reports.read.configuration import Configuration
from reports.read.overview import Overview
from reports.read.panels import read_panel
from reports.read.ranking import best_of

SHOWN = 6
"""Latents a strip shows."""

SEPARATOR = 255


def plot(overview: Overview) -> ReportFigure | None:
    """The figure of the best training; None when all its samplers cost the same or its panels are gone."""
    best = best_of(overview.configurations, overview.distance)
    own = [one for one in overview.configurations if best and one.training == best.training]
    strips = {}
    found = []
    for one in own:
        strip = _strip(overview, one)
        if strip is not None:
            strips[id(one)] = strip
            found.append(one)
    families = list(dict.fromkeys(one.family for one in found))
    if best is None or len({one.nfe for one in found}) < 2:
        return None
    columns = {
        family: _by_cost(overview, [one for one in found if one.family == family]) for family in families
    }
    height = max(map(len, columns.values()))
    figure, axes = new_grid(height, len(families), width=7.6, row_height=7.6 / len(families) / SHOWN + 0.12)
    for number, family in enumerate(families):
        axes[0][number].set_title(family, fontsize=9)
        for row in range(height):
            _place(axes[row][number], columns[family][row : row + 1], strips)
    caption = f"Each column is one solver, each strip the same {SHOWN} latents; NFE beside it."
    if len(overview.trainings) > 1:
        caption += f" Training: {best.training}, the one with the best cell."
    return ReportFigure(figure, FIGURE.title, caption)


def _by_cost(overview: Overview, own: list[Configuration]) -> list[Configuration]:
    """The best of each cost, cheapest first."""
    costs = sorted({one.nfe for one in own})
    chosen = (best_of([one for one in own if one.nfe == nfe], overview.distance) for nfe in costs)
    return [one for one in chosen if one is not None]


def _place(axes: Any, one: list[Configuration], strips: dict[int, Any]) -> None:
    axes.set_axis_off()
    if not one:
        return
    axes.imshow(strips[id(one[0])], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.text(0, 1.04, f"{one[0].nfe}", transform=axes.transAxes, fontsize=7.5, color=MUTED, va="bottom")


def _strip(overview: Overview, one: Configuration) -> Any | None:
    """The first images of a cell's panel, cut from its first row at the white lines that separate them."""
    png = None if one.panel is None else read_panel(overview.sweep.storage, one.panel)
    if png is None:
        return None
    pixels = matplotlib.image.imread(io.BytesIO(png), format="png")
    light = pixels if pixels.ndim == 2 else pixels[..., :3].min(axis=2)
    rows, columns = (np.flatnonzero((light == 1).all(axis=axis)) for axis in (1, 0))
    if len(rows) == 0 or len(columns) < SHOWN:
        return None
    return pixels[: rows[0], : columns[SHOWN - 1]]


FIGURE = FigureKind(name="same_latents", position=70, title="The same latents at every cost", plot=plot)
