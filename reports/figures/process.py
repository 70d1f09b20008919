"""The picture of a training objective: how images are noised, which levels are shown, what errors weigh."""

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from engine.records.curves import DesignCurves
from reports.figures.noise_axes import log_y, panel_title, sigma_axis
from reports.figures.style import DPI, INK, MUTED, PALETTE, Label, ReportFigure, write_labels

BLUE, ORANGE, GREEN, PINK = PALETTE[:4]
DASHED = (0, (4, 1.6))
"""For the line that lies on another one in some objectives: both are seen."""


def plot_process(curves: DesignCurves) -> ReportFigure:
    """Six panels; all but the first share the axis of the noise level."""
    figure = Figure(figsize=(11.6, 6.7), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.set_layout_engine(
        "constrained", w_pad=0.12, h_pad=0.12, wspace=0.04, hspace=0.05, rect=(0, 0, 1, 0.915)
    )
    figure.text(0.012, 0.968, curves.title, fontsize=14, fontweight="bold", va="center")
    figure.text(0.012, 0.93, curves.words, fontsize=9.5, color=MUTED, va="center")
    panes = np.ravel(figure.subplots(2, 3))
    panels = (_plot_path, _plot_density, _plot_shares, _plot_weights, _plot_coefficients, _plot_c_noise)
    labels = [plot(axes, curves) for plot, axes in zip(panels, panes, strict=True)]
    for axes, own in zip(panes, labels, strict=True):
        write_labels(axes, own)
    return ReportFigure(figure, curves.title, curves.words)


def _plot_path(axes: Any, curves: DesignCurves) -> list[Label]:
    snr = -20 * np.log10(curves.path_sigma)
    axes.plot(curves.path_time, snr, color=INK)
    low, high = (-20 * np.log10(curves.sigma[end]) for end in (-1, 0))
    axes.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    axes.set_xlim(0, 1)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 4, 5, 10]))
    axes.axhline(0, color=MUTED, lw=0.8, ls=(0, (4, 3)), zorder=1)
    axes.set_xlabel("process time")
    panel_title(axes, "Signal-to-noise ratio (dB)")
    return []


def _plot_density(axes: Any, curves: DesignCurves) -> list[Label]:
    axes.fill_between(curves.sigma, curves.density, color=BLUE, alpha=0.16, lw=0)
    axes.plot(curves.sigma, curves.density, color=BLUE)
    sigma_axis(axes, curves.sigma)
    top = 1.06 * max(curves.density)
    axes.set_ylim(-0.185 * top, top)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value >= 0 else ""))
    axes.axhline(0, color=MUTED, lw=0.8)
    axes.vlines(curves.sampler_sigma, -0.075 * top, -0.02 * top, color=ORANGE, lw=1.1, clip_on=False)
    words = {"transform": axes.get_yaxis_transform(), "fontsize": 8.8, "va": "center", "ha": "left"}
    axes.text(0.015, -0.132 * top, f"noise levels of {curves.sampler}", color=ORANGE, **words)
    panel_title(axes, "Noise levels that training shows (density over ln σ)")
    return []


def _plot_shares(axes: Any, curves: DesignCurves) -> list[Label]:
    axes.fill_between(curves.sigma, curves.target_share, color=GREEN, alpha=0.16, lw=0)
    axes.plot(curves.sigma, curves.target_share, color=GREEN)
    axes.plot(curves.sigma, curves.loss_share, color=PINK, ls=DASHED)
    sigma_axis(axes, curves.sigma)
    axes.set_ylim(0, 1.28 * max(*curves.target_share, *curves.loss_share))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    clear = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    words = {"transform": axes.transAxes, "fontsize": 8.8, "va": "center", "ha": "left", "bbox": clear}
    axes.text(0.03, 0.95, "density × weight on the target", color=GREEN, **words)
    axes.text(0.03, 0.885, "share of the loss, for Gaussian data (dashed)", color=PINK, **words)
    panel_title(axes, "Where the training signal is (area 1)")
    return []


def _plot_weights(axes: Any, curves: DesignCurves) -> list[Label]:
    axes.plot(curves.sigma, curves.weight_x0, color=BLUE)
    axes.plot(curves.sigma, curves.weight_target, color=ORANGE, ls=DASHED)
    sigma_axis(axes, curves.sigma)
    log_y(axes, [*curves.weight_x0, *curves.weight_target])
    panel_title(axes, "Weight of the squared error of x̂₀ and of the target")
    lines = ((curves.weight_x0, "x̂₀", BLUE), (curves.weight_target, "target", ORANGE))
    return [_end_label(curves, values, name, colour) for values, name, colour in lines]


def _plot_coefficients(axes: Any, curves: DesignCurves) -> list[Label]:
    labels, sizes = [], []
    named = (("c_skip", BLUE, curves.c_skip), ("c_out", ORANGE, curves.c_out), ("c_in", GREEN, curves.c_in))
    for name, colour, values in named:
        size = np.abs(values)
        if not size.any():
            axes.text(0.03, 0.05, f"{name} = 0", color=colour, fontsize=8.8, transform=axes.transAxes)
            continue
        axes.plot(curves.sigma, size, color=colour, ls=DASHED if name == "c_in" else "-")
        labels.append(_end_label(curves, list(size), f"−{name}" if values[-1] < 0 else name, colour))
        sizes += list(size)
    sigma_axis(axes, curves.sigma)
    log_y(axes, sizes)
    panel_title(axes, "Preconditioning: x̂₀ = c_skip x + c_out net(c_in x)")
    return labels


def _plot_c_noise(axes: Any, curves: DesignCurves) -> list[Label]:
    axes.plot(curves.sigma, curves.c_noise, color=INK)
    sigma_axis(axes, curves.sigma)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    panel_title(axes, "What the network is told of σ: c_noise")
    return []


def _end_label(curves: DesignCurves, values: list[float], name: str, colour: str) -> Label:
    """A name where a line ends on a logarithmic axis: at its last value above 0."""
    last = max(index for index, value in enumerate(values) if value > 0)
    return Label(curves.sigma[last], float(values[last]), name, colour)
