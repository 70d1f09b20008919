"""The picture of a diagnosis: a denoiser's loss above its optimum, over the noise level."""

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from engine.records.curves import DiagnosisCurves
from reports.figures.noise_axes import log_y, panel_title, sigma_axis
from reports.figures.style import DPI, MUTED, PALETTE, ReportFigure
from reports.formatting import significant

BLUE, ORANGE, GREEN = PALETTE[:3]
DASHED = (0, (4, 1.6))
"""For the optimum, which the model's loss lies on at large noise: both are seen."""
BAND = 2
"""Half width of the error band in standard errors: about 95 %."""
REACH = 1e-2
"""The optimum falls to 0 at small noise; it is plotted down to this part of the model's lowest loss."""
MIDDLE = (0.25, 0.75)
"""Ends of the middle half of what is lost, as shares of all."""


def plot_diagnosis(curves: DiagnosisCurves) -> ReportFigure:
    """Two panels over the noise level: the losses, and the weighted gap."""
    figure = Figure(figsize=(9.6, 4.1), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1, wspace=0.05, rect=(0, 0.07, 1, 0.8))
    figure.text(0.013, 0.945, curves.title, fontsize=13, fontweight="bold", va="center")
    figure.text(0.013, 0.885, curves.words, fontsize=9.5, color=MUTED, va="center")
    left, right = figure.subplots(1, 2)
    _plot_losses(left, curves)
    found = _plot_lost(right, curves)
    figure.text(0.013, 0.04, found, fontsize=9, color=MUTED, va="center")
    return ReportFigure(figure, curves.title, f"{curves.words} {found}")


def lost(curves: DiagnosisCurves) -> NDArray[np.float64]:
    """Weighted gap per unit of ln sigma: its area is the training loss above the optimum."""
    heights: NDArray[np.float64] = np.asarray(curves.weight) * np.asarray(curves.gap)
    return heights


def total_lost(curves: DiagnosisCurves) -> float:
    """Training loss above its optimum: the area of the weighted gap over ln sigma."""
    return float(np.trapezoid(lost(curves), np.log(curves.sigma)))


def middle_half(curves: DiagnosisCurves) -> tuple[float, float] | None:
    """Noise levels between which the middle half of the weighted gap lies; None when nothing is lost.

    A gap below 0 is noise of the estimate and counts as 0 here.
    """
    ln_sigma = np.log(curves.sigma)
    heights = lost(curves).clip(min=0)
    slices = (heights[1:] + heights[:-1]) / 2 * np.diff(ln_sigma)
    if not slices.sum() > 0:
        return None
    share = np.concatenate([[0.0], np.cumsum(slices) / slices.sum()])
    low, high = np.exp(np.interp(MIDDLE, share, ln_sigma))
    return float(low), float(high)


def _plot_losses(axes: Any, curves: DiagnosisCurves) -> None:
    floor = REACH * min(value for value in curves.model_loss if value > 0)
    model, optimal = (np.maximum(values, floor) for values in (curves.model_loss, curves.optimal_loss))
    axes.fill_between(curves.sigma, optimal, model, color=ORANGE, alpha=0.2, lw=0)
    axes.plot(curves.sigma, model, color=BLUE)
    axes.plot(curves.sigma, np.where(optimal > floor, optimal, np.nan), color=GREEN, ls=DASHED)
    sigma_axis(axes, curves.sigma)
    log_y(axes, [*model, *optimal])
    panel_title(axes, "Loss of x̂₀ per dimension, and its optimum")
    names = (("model J(σ)", BLUE), ("optimum J*(σ), dashed", GREEN), ("gap, shaded", ORANGE))
    for line, (name, colour) in enumerate(names):
        place = (0.97, 0.19 - 0.065 * line)
        axes.text(*place, name, color=colour, transform=axes.transAxes, fontsize=8.8, va="center", ha="right")


def _plot_lost(axes: Any, curves: DiagnosisCurves) -> str:
    """The weighted gap; returns what it says in words."""
    heights = lost(curves)
    error = BAND * np.asarray(curves.weight) * np.asarray(curves.gap_stderr)
    axes.fill_between(curves.sigma, heights - error, heights + error, color=ORANGE, alpha=0.22, lw=0)
    axes.plot(curves.sigma, heights, color=ORANGE)
    axes.axhline(0, color=MUTED, lw=0.8)
    sigma_axis(axes, curves.sigma)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel_title(axes, "Where training loses: weighted gap per unit of ln σ")
    words = f"Area: training loss above its optimum, {significant(total_lost(curves))}"
    between = middle_half(curves)
    if between is not None:
        axes.axvspan(*between, color=MUTED, alpha=0.1, lw=0, zorder=0)
        low, high = map(significant, between)
        words += f"; grey: its middle half, σ = {low} to {high}"
    return f"{words}. Band: ±{BAND} standard errors."
