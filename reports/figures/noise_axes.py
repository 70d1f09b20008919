"""Axes of panels over the noise level: a logarithmic sigma, plain numbers, and titles on the left."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from reports.figures.style import INK


def panel_title(axes: Any, words: str) -> None:
    """A title over the left end of a panel."""
    axes.set_title(words, loc="left", fontsize=9.5, color=INK, pad=7)


def sigma_axis(axes: Any, sigma: Sequence[float]) -> None:
    """A logarithmic x axis from the first to the last of rising noise levels, ticked at the decades."""
    axes.set_xscale("log")
    axes.set_xlim(sigma[0], sigma[-1])
    decades = np.arange(np.ceil(np.log10(sigma[0])), np.floor(np.log10(sigma[-1])) + 1)
    axes.xaxis.set_major_locator(FixedLocator(list(10.0**decades)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_plain))
    axes.set_xlabel("noise level σ")


def log_y(axes: Any, values: Sequence[float]) -> None:
    """A logarithmic y axis for the values above 0, at least a decade high and with at most six ticks."""
    positive = [value for value in values if value > 0]
    low, high = np.log10(min(positive)), np.log10(max(positive))
    middle = (low + high) / 2
    half = max(0.5, 0.55 * (high - low))
    axes.set_yscale("log")
    axes.set_ylim(10 ** (middle - half), 10 ** (middle + half))
    axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))


def _plain(value: float, _: Any) -> str:
    """0.001 to 1000 as they are, else 10 with an exponent."""
    if 0.9e-3 < value < 1.1e3:
        return f"{value:g}"
    exponent = round(np.log10(value))
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
