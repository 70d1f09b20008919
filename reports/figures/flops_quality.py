"""Quality against the multiply-accumulates of a forward pass, all trainings at the reference sampler."""

import math
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from reports.figures.base import FigureKind
from reports.figures.style import (
    INK,
    MUTED,
    PALETTE,
    PlotStyle,
    ReportFigure,
    log_axis,
    log_if_wide,
    new_figure,
)
from reports.formatting import describe, scaled, value_text
from reports.read.axes import is_sampler_field
from reports.read.configuration import Configuration
from reports.read.overview import Overview
from reports.tables.flops_quality import BUDGET, is_dynamic

KINDS = {True: "DyDiT, executing a share", False: "always executing everything"}
"""What the marks of a figure with both kinds of network mean."""

LINE = "#b8c2cc"
TICK_GAP = 0.1
"""Part of the axis that a number such as "9.28 M" takes."""


def plot(overview: Overview) -> ReportFigure | None:
    """The figure, or None when a forward pass of every training costs the same."""
    found = [
        one
        for one in overview.at_reference.values()
        if one.macs is not None and math.isfinite(one.mean(overview.distance))
    ]
    if len({one.macs for one in found}) < 2:
        return None
    figure, (axes,) = new_figure(height=4.2)
    log_axis(axes.xaxis, [one.macs or 0 for one in found], TICK_GAP)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda macs, _: scaled(macs)))
    log_if_wide(axes, [value for one in found for value in one.metrics[overview.distance].by_seed.values()])
    best = frontier(found, overview.distance)
    line = [(one.macs, one.mean(overview.distance)) for one in best]
    axes.plot(*zip(*line, strict=True), color=LINE, zorder=1)
    for one in found:
        _mark(axes, one, overview, one in best)
    if len(kinds := {is_dynamic(one) for one in found}) > 1:
        keys = [
            Line2D([], [], ls="", mew=1.6, ms=7, label=KINDS[kind], **_look(kind, True))
            for kind in sorted(kinds)
        ]
        above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2}
        axes.legend(handles=keys, frameon=False, labelcolor=MUTED, **above)
    axes.margins(x=0.14, y=0.16)
    axes.set_xlabel("MACs of a forward pass of one image")
    axes.set_ylabel(overview.facts(overview.distance).header)
    return ReportFigure(figure, FIGURE.title, _caption(overview))


def frontier(found: list[Configuration], distance: str) -> list[Configuration]:
    """Those that nothing as cheap is better than, from the cheapest on."""
    kept: list[Configuration] = []
    for one in sorted(found, key=lambda one: (one.macs or 0, one.mean(distance))):
        if not kept or one.mean(distance) < kept[-1].mean(distance):
            kept.append(one)
    return kept


def _mark(axes: Any, one: Configuration, overview: Overview, leads: bool) -> None:
    """A configuration with its interval, its seeds and its name; filled where it lies on the frontier."""
    estimate = one.metrics[overview.distance]
    look = _look(is_dynamic(one), leads)
    seeds = list(estimate.by_seed.values())
    top = max(estimate.by_seed.values())
    if estimate.low is not None and estimate.high is not None:
        axes.plot([one.macs] * 2, [estimate.low, estimate.high], color=look["mec"], lw=1.2)
        top = max(top, estimate.high)
    axes.plot([one.macs], [estimate.mean], ls="", mew=1.6, ms=7, zorder=3, **look)
    if len(seeds) > 1:
        axes.plot([one.macs] * len(seeds), seeds, ls="", marker="o", ms=3, color=INK, alpha=0.8, zorder=4)
    name = {"ha": "center", "fontsize": 9, "color": INK}
    axes.annotate(_name(one, overview), (one.macs, top), (0, 8), textcoords="offset points", **name)


def _look(dynamic: bool, leads: bool) -> PlotStyle:
    """Marker and colour by kind of network."""
    colour = PALETTE[1] if dynamic else PALETTE[0]
    return {"marker": "o" if dynamic else "s", "mfc": colour if leads else "white", "mec": colour}


def _name(one: Configuration, overview: Overview) -> str:
    """What is varied; beside budgets, which are percentages, the kind of network needs no words."""
    fields = [field for field in overview.varied if not is_sampler_field(field) and field in one.axes]
    if BUDGET not in overview.varied:
        return one.training
    others = describe({field: one.axes[field] for field in fields if field not in (BUDGET, "model.kind")})
    own = f"{one.axes[BUDGET]:.0%}" if BUDGET in one.axes else value_text(one.axes.get("model.kind", ""))
    return ", ".join(filter(None, [others, own])) or one.training


def _caption(overview: Overview) -> str:
    words = [f"Every training at {overview.reference_sampler}."]
    words.append("The line joins what nothing as cheap is better than; filled marks lie on it.")
    if BUDGET in overview.varied:
        words.append("Percentages are budgets: the FLOPs of attention and MLPs that may be executed.")
    if overview.seeds[1] > 1:
        words.append("Dots are single training seeds.")
    return " ".join([*words, overview.seeds_label])


FIGURE = FigureKind(
    name="flops_quality", position=30, title="Quality against the work of a forward pass", plot=plot
)
