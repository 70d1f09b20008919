"""One look for every figure: quiet axes, colour-blind safe lines, names written beside what they name."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

# Okabe and Ito's palette without its yellow, which is too light for lines on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#555555")
INK = "#1c1f24"
MUTED = "#5b6470"
GRID = "#e4e7eb"
DPI = 200
"""Twice the 100 pixels an inch at which a page shows figures."""

LABEL_POINTS = 13.5
"""Height of a line of direct labels, in points."""

PlotStyle = dict[str, Any]
"""Keyword arguments of Matplotlib, which types them no further."""

RC: PlotStyle = {
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "text.parse_math": False,  # names come from the user: a dollar sign is a dollar sign
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
    "lines.solid_capstyle": "round",
}
"""Settings that hold while a figure is plotted and saved."""


@dataclass(frozen=True)
class ReportFigure:
    """A finished figure with its words."""

    figure: Any
    title: str
    caption: str


@dataclass(frozen=True)
class Label:
    """A name to write beside a point of the data."""

    x: float
    y: float
    text: str
    colour: str


def new_figure(width: float = 7.6, height: float = 4.2, columns: int = 1) -> tuple[Any, list[Any]]:
    """A figure of that many inches and its axes, side by side."""
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure, list(np.ravel(figure.subplots(1, columns)))


def new_grid(rows: int, columns: int, *, width: float, row_height: float) -> tuple[Any, list[list[Any]]]:
    """A figure with a grid of axes, as lists of rows."""
    figure = Figure(figsize=(width, rows * row_height + 0.3), dpi=DPI)
    FigureCanvasAgg(figure)
    return figure, [list(row) for row in np.reshape(figure.subplots(rows, columns), (rows, columns))]


def to_png(figure: ReportFigure) -> bytes:
    """PNG without dates or program names: the same figure always gives the same bytes."""
    buffer = io.BytesIO()
    figure.figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def styled() -> Any:
    """Context in which the style holds."""
    return matplotlib.rc_context(RC)


def colours(count: int) -> list[str]:
    """Colours that stay apart for every kind of colour vision; from light to dark when there are many."""
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.88, count))
    return [str(matplotlib.colors.to_hex(shade)) for shade in shades]


def log_axis(axis: Any, ticks: Sequence[float], gap: float = 0.055) -> None:
    """Logarithmic axis ticked at the values that were measured, thinned to be `gap` of its length apart."""
    values = sorted(set(ticks))
    axis.axes.set_xscale("log")
    span = np.log(values[-1] / values[0]) or 1.0
    kept = values[:1]
    for value in values[1:]:
        if np.log(value / kept[-1]) / span > gap:
            kept.append(value)
    axis.set_ticks(kept)
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    axis.axes.tick_params(axis="x", which="minor", length=0)


def log_if_wide(axes: Any, values: Sequence[float], ratio: float = 5.0) -> None:
    """Logarithmic y axis when the values span more than `ratio`."""
    finite = [value for value in values if np.isfinite(value)]
    if not finite or min(finite) <= 0 or max(finite) / min(finite) <= ratio:
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        return
    axes.set_yscale("log")
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_formatter(plain if max(finite) / min(finite) < 30 else NullFormatter())
    axes.tick_params(axis="y", which="minor", labelsize=8)


def write_labels(axes: Any, labels: Sequence[Label]) -> None:
    """Write names to the right of the plot, each at its point's height, moved apart so that none touch."""
    if not labels:
        return
    axes.figure.canvas.draw()
    ordered = sorted(labels, key=lambda label: label.y)
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = to_axes.transform([(label.x, label.y) for label in ordered])
    line = LABEL_POINTS / (axes.get_window_extent().height / axes.figure.dpi * 72)
    in_axes: PlotStyle = {"transform": axes.transAxes, "clip_on": False}
    for label, (x, y), place in zip(ordered, ends, spread([float(y) for _, y in ends], line), strict=True):
        leader: PlotStyle = {"lw": 0.7, "alpha": 0.5, "ls": (0, (2, 2)), "zorder": 1}
        axes.plot([x + 0.012, 1.015], [y, place], **in_axes, **leader, color=label.colour)
        axes.text(1.025, place, label.text, **in_axes, color=label.colour, va="center", fontsize=8.8)


def spread(heights: Sequence[float], line: float) -> list[float]:
    """Rising heights in [0, 1], moved as little as needed to be `line` apart; crowds stay centred."""
    crowds: list[tuple[float, int]] = []  # (sum of heights, how many)

    def centre(total: float, count: int) -> float:
        reach = (count - 1) / 2 * line
        return max(min(total / count, 1 - reach), reach)

    for height in heights:
        total, count = height, 1
        while crowds and centre(total, count) - centre(*crowds[-1]) < line * (count + crowds[-1][1]) / 2:
            other_total, other_count = crowds.pop()
            total, count = total + other_total, count + other_count
        crowds.append((total, count))
    return [
        centre(*crowd) + (place - (crowd[1] - 1) / 2) * line for crowd in crowds for place in range(crowd[1])
    ]
