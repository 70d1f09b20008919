"""How much noise, and where: the best distance at each pair of churn parameters [P3 Table 5]."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from reports.figures.base import FigureKind
from reports.figures.style import INK, MUTED, ReportFigure, new_figure
from reports.formatting import axis_label, significant, value_text
from reports.read.overview import Overview
from reports.read.points import grid_points

PAIRS = (("sample.s_noise", "sample.s_churn"), ("sample.s_tmax", "sample.s_tmin"))
"""(across, up) of each pane."""

FEWEST_LEVELS = 3
"""Levels that both parameters of a pane must have."""


def plot(overview: Overview) -> ReportFigure | None:
    """The figure, or None where no pair of parameters varies together."""
    panes = [
        pair for pair in PAIRS if all(len(overview.varied.get(field, ())) >= FEWEST_LEVELS for field in pair)
    ]
    maps = [best_at(overview, *pair) for pair in panes]
    panes = [pair for pair, best in zip(panes, maps, strict=True) if np.isfinite(best).mean() > 0.5]
    maps = [best for best in maps if np.isfinite(best).mean() > 0.5]
    if not panes:
        return None
    figure, places = new_figure(width=7.6, height=4.0, columns=len(panes))
    low, high = (float(function([function(best) for best in maps])) for function in (np.nanmin, np.nanmax))
    for axes, pair, best in zip(places, panes, maps, strict=True):
        image = _plot_pane(axes, overview, pair, best, low, high)
    bar = figure.colorbar(image, ax=places, shrink=0.85, pad=0.02)
    bar.set_label(overview.facts(overview.distance).header)
    bar.outline.set_visible(False)
    return ReportFigure(figure, FIGURE.title, _caption(overview))


def in_order(levels: Iterable[Any]) -> list[Any]:
    """Levels rising; None, no upper limit, comes last."""
    return sorted(levels, key=lambda level: math.inf if level is None else level)


def best_at(overview: Overview, across: str, up: str) -> Any:
    """Lowest distance at each pair of levels [levels up, levels across], over all else; NaN where none."""
    columns, rows = (in_order(overview.varied[field]) for field in (across, up))
    best = np.full((len(rows), len(columns)), np.nan)
    for axes, one in grid_points(overview):
        value = one.mean(overview.distance)
        if across in axes and up in axes and math.isfinite(value):
            row, column = rows.index(axes[up]), columns.index(axes[across])
            best[row, column] = np.nanmin([best[row, column], value])
    return best


def _plot_pane(
    axes: Any, overview: Overview, pair: tuple[str, str], best: Any, low: float, high: float
) -> Any:
    image = axes.imshow(best, origin="lower", aspect="auto", cmap="viridis", vmin=low, vmax=high)
    across, up = (in_order(overview.varied[field]) for field in pair)
    axes.set_xticks(range(len(across)), [value_text(value) for value in across], rotation=60)
    axes.set_yticks(range(len(up)), [value_text(value) for value in up])
    axes.set_xlabel(axis_label(pair[0]))
    axes.set_ylabel(axis_label(pair[1]))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    row, column = np.unravel_index(np.nanargmin(best), best.shape)
    axes.plot(column, row, marker="o", ms=9, mfc="none", mec="white", mew=3.2)
    axes.plot(column, row, marker="o", ms=9, mfc="none", mec=INK, mew=1.6)
    axes.tick_params(length=0, colors=MUTED)
    return image


def _caption(overview: Overview) -> str:
    words = ["Each square is the best over all other parameters; a ring marks the lowest."]
    plain = [one for one in overview.configurations if one.deterministic]
    if plain:
        value = min(one.mean(overview.distance) for one in plain)
        words.append(f"The deterministic sampler of the same cost has {significant(value)}.")
    return " ".join([*words, overview.seeds_label])


FIGURE = FigureKind(name="heat_map", position=60, title="Where noise helps", plot=plot)
