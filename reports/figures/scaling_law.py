"""Loss against the compute of training, as it is and above its optimum, with the power laws through both."""

from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from reports.figures.base import FigureKind
from reports.figures.style import (
    MUTED,
    Label,
    PlotStyle,
    ReportFigure,
    colours,
    log_axis,
    log_if_wide,
    new_figure,
    write_labels,
)
from reports.formatting import fixed, scaled
from reports.read.overview import Overview
from reports.read.scaling import SERIES, PowerLaw, Trainings, trainings_by_size

LOOKS: dict[str, PlotStyle] = {
    "model_loss": {"marker": "s", "ls": (0, (4, 2)), "mfc": "white"},
    "optimal_loss_gap": {"marker": "o", "ls": "-"},
}
"""Marker and line of each of SERIES."""
TICK_GAP = 0.1
"""Part of the axis that a number such as "9.28 T" takes."""


def plot(overview: Overview) -> ReportFigure | None:
    """The figure, or None without both losses on at least three sizes of network."""
    groups = trainings_by_size(overview)
    if not groups:
        return None
    figure, (axes,) = new_figure(height=4.2)
    log_axis(axes.xaxis, [compute for group in groups for compute in group.compute], TICK_GAP)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda compute, _: scaled(compute)))
    heights: list[float] = []
    for group in groups:
        for values in group.losses.values():
            heights.extend(values)
    log_if_wide(axes, heights, ratio=1)
    labels = []
    for group, colour in zip(groups, colours(len(groups)), strict=True):
        for metric in SERIES:
            labels += _plot_series(axes, group, metric, colour)
    keys = [Line2D([], [], color=MUTED, label=f"loss {SERIES[metric]}", **LOOKS[metric]) for metric in SERIES]
    axes.legend(
        handles=keys, frameon=False, labelcolor=MUTED, loc="lower right", bbox_to_anchor=(1, 1), ncols=2
    )
    axes.set_xlabel("compute F: MACs of a forward pass × images shown")
    axes.set_ylabel("weighted training loss")
    write_labels(axes, labels)
    caption = (
        "Points are trainings, lines the power laws y = a F^b fitted "
        "to them in logarithms; the intervals of b are in the table."
    )
    return ReportFigure(figure, FIGURE.title, caption)


def _plot_series(axes: Any, group: Trainings, metric: str, colour: str) -> list[Label]:
    """Points and, where there is one, the law with its label."""
    look = LOOKS[metric]
    values = group.losses[metric]
    law = group.law(metric)
    mark = {key: value for key, value in look.items() if key != "ls"}
    axes.plot(group.compute, values, ls="", color=colour, mew=1.5, zorder=3, **mark)
    if law is None:
        return []
    reach = np.geomspace(group.compute[0], group.compute[-1], 50)
    line = law(reach)
    axes.plot(reach, line, color=colour, ls=look["ls"], lw=1.4)
    return [Label(float(reach[-1]), float(line[-1]), _words(group.label, law), colour)]


def _words(label: str, law: PowerLaw) -> str:
    numbers = f"b = {fixed(law.exponent, 3)}, R² = {fixed(law.r_squared, 3)}"
    return f"{label}: {numbers}" if label else numbers


FIGURE = FigureKind(name="scaling_law", position=20, title="Scaling law", plot=plot)
