"""Quality against network evaluations per image: a line for each solver family and training."""

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.lines import Line2D

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
from reports.read.configuration import Configuration
from reports.read.overview import Overview

MARKERS = {
    "Heun": "s",
    "Euler": "o",
    "DDIM": "^",
    "DDPM": "v",
    "EDM stochastic": "D",
    "DDIM stochastic": "d",
    "flow Euler": "P",
    "flow Heun": "X",
    "flow RK4": "*",
}
LINES = {
    "Heun": "-",
    "Euler": (0, (1, 1.4)),
    "DDIM": (0, (5, 2)),
    "DDPM": "-.",
    "EDM stochastic": (0, (3, 1, 1, 1)),
    "flow Euler": (0, (1, 1.4)),
}


def plot(overview: Overview) -> ReportFigure | None:
    """The figure, or None when every sampler costs the same."""
    measured = [one for one in overview.configurations if math.isfinite(one.mean(overview.distance))]
    if len({one.nfe for one in measured}) < 2:
        return None
    lines: dict[tuple[str, str], list[Configuration]] = {}
    for one in measured:
        lines.setdefault((one.training, one.family), []).append(one)
    families = list(dict.fromkeys(family for _, family in lines))
    by_training = len(overview.trainings) > 1
    named = list(overview.trainings) if by_training else families
    colour = dict(zip(named, colours(len(named)), strict=True))
    figure, (axes,) = new_figure(height=4.6)
    log_axis(axes.xaxis, [one.nfe for one in measured])
    log_if_wide(axes, [one.mean(overview.distance) for one in measured])
    labels: dict[str, Label] = {}
    for (training, family), own in lines.items():
        name = training if by_training else family
        end = _plot_line(axes, overview.distance, own, colour[name])
        if name not in labels or (-end[0], end[1]) < (-labels[name].x, labels[name].y):
            labels[name] = Label(*end, name, colour[name])
    if by_training and len(families) > 1:
        axes.legend(
            handles=[_key(family) for family in families], frameon=False, loc="upper right", labelcolor=MUTED
        )
    axes.set_xlabel("network evaluations per image (NFE)")
    axes.set_ylabel(overview.facts(overview.distance).header)
    write_labels(axes, list(labels.values()))
    return ReportFigure(figure, FIGURE.title, _caption(overview, measured))


def _plot_line(axes: Any, distance: str, own: Sequence[Configuration], colour: str) -> tuple[float, float]:
    """A line through the best at each NFE, the others as faint dots; returns where the line ends."""
    best: dict[int, Configuration] = {}
    for one in own:
        if one.nfe not in best or one.mean(distance) < best[one.nfe].mean(distance):
            best[one.nfe] = one
    others = [one for one in own if one is not best[one.nfe]]
    axes.plot(
        [one.nfe for one in others],
        [one.mean(distance) for one in others],
        ".",
        color=colour,
        ms=4,
        alpha=0.3,
    )
    costs = sorted(best)
    for nfe in costs:
        estimate = best[nfe].metrics[distance]
        if estimate.low is not None and estimate.high is not None:
            axes.plot([nfe, nfe], [estimate.low, estimate.high], color=colour, lw=1.2, alpha=0.7)
    look = _look(own[0].family, colour, own[0].deterministic)
    axes.plot(costs, [best[nfe].mean(distance) for nfe in costs], **look, zorder=3)
    return float(costs[-1]), best[costs[-1]].mean(distance)


def _look(family: str, colour: str, deterministic: bool) -> PlotStyle:
    """Marker and line of a solver family; hollow when it draws noise."""
    fill = colour if deterministic else "white"
    marker = {"marker": MARKERS.get(family, "o"), "markerfacecolor": fill, "markeredgewidth": 1.5}
    return {"color": colour, "ls": LINES.get(family, "-"), **marker}


def _key(family: str) -> Line2D:
    return Line2D(
        [], [], label=family, **_look(family, MUTED, "stochastic" not in family and family != "DDPM")
    )


def _caption(overview: Overview, measured: Sequence[Configuration]) -> str:
    words = ["Lines join the best configuration of a solver at each cost."]
    if any(not one.deterministic for one in measured):
        words.append("Hollow points draw noise while sampling, filled ones are deterministic.")
    return " ".join([*words, overview.seeds_label])


FIGURE = FigureKind(name="nfe_quality", position=40, title="Quality against cost", plot=plot)
