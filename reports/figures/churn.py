"""Quality against S_churn: how much noise to put back while sampling."""

import math
from typing import Any

from matplotlib.ticker import MaxNLocator

from reports.figures.base import FigureKind
from reports.figures.style import (
    INK,
    MUTED,
    Label,
    ReportFigure,
    colours,
    log_if_wide,
    new_figure,
    write_labels,
)
from reports.formatting import describe
from reports.read.overview import Overview
from reports.read.points import grid_points

CHURN = "sample.s_churn"
MAX_NAMED_LINES = 7
"""With more settings of the other parameters only the best line is named."""

Lines = dict[str, dict[float, float]]
"""Setting of the other parameters, in words -> S_churn -> distance."""


def plot(overview: Overview) -> ReportFigure | None:
    """The figure, or None when S_churn does not vary."""
    if len(overview.varied.get(CHURN, ())) < 2:
        return None
    lines = _lines(overview)
    if not lines:
        return None
    figure, (axes,) = new_figure()
    log_if_wide(axes, [value for line in lines.values() for value in line.values()])
    few = len(lines) <= MAX_NAMED_LINES
    labels = _plot_named(axes, lines) if few else _plot_many(axes, lines)
    axes.xaxis.set_major_locator(MaxNLocator(11))
    axes.set_xlabel("S_churn")
    axes.set_ylabel(overview.facts(overview.distance).header)
    write_labels(axes, labels)
    heun = "Square and dashed line: S_churn = 0, the deterministic Heun sampler."
    words = [heun] if any(0 in line for line in lines.values()) else []
    if not few:
        count = f"{len(lines):,}"
        words.append(
            f"{count} settings of the other parameters in grey, the one with the lowest value in colour."
        )
    return ReportFigure(figure, FIGURE.title, " ".join([*words, overview.seeds_label]))


def _lines(overview: Overview) -> Lines:
    """Every grid point that has a value: collapsed points take the value of the cell they are."""
    lines: dict[str, dict[float, float]] = {}
    others = [field for field in overview.varied if field != CHURN]
    for axes, one in grid_points(overview):
        churn = axes.get(CHURN)
        distance = one.mean(overview.distance)
        if isinstance(churn, int | float) and math.isfinite(distance):
            name = describe({field: axes[field] for field in others if field in axes})
            lines.setdefault(name, {})[float(churn)] = distance
    return {name: dict(sorted(line.items())) for name, line in lines.items()}


def _plot_named(axes: Any, lines: Lines) -> list[Label]:
    labels = []
    for (name, line), colour in zip(lines.items(), colours(len(lines)), strict=True):
        _plot_line(axes, line, colour)
        end = max(line)
        labels.append(Label(end, line[end], name, colour))
    return labels if len(lines) > 1 else []


def _plot_many(axes: Any, lines: Lines) -> list[Label]:
    for line in lines.values():
        axes.plot(
            list(line), list(line.values()), color=MUTED, lw=0.7, alpha=max(0.08, min(0.5, 20 / len(lines)))
        )
    name = min(lines, key=lambda key: min(lines[key].values()))
    colour = colours(1)[0]
    _plot_line(axes, lines[name], colour)
    end = max(lines[name])
    return [Label(end, lines[name][end], name.replace(", ", "\n"), colour)]


def _plot_line(axes: Any, line: dict[float, float], colour: str) -> None:
    axes.plot(list(line), list(line.values()), color=colour, marker="D", mfc="white", mew=1.5, ms=5)
    if 0 in line:
        axes.axhline(line[0], color=INK, lw=0.9, ls=(0, (4, 3)), alpha=0.5, zorder=1)
        axes.plot([0], [line[0]], marker="s", color=INK, ms=7, zorder=4)


FIGURE = FigureKind(name="churn", position=50, title="Quality against churn", plot=plot)
