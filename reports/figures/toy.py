"""The K-budget picture: what each sampler makes of the same 2-D latents with few steps and with many."""

from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from engine.records.curves import ToyCloud, ToyGrid
from reports.figures.style import DPI, GRID, INK, MUTED, PALETTE, ReportFigure

# All lengths are inches.
PANEL = 1.34
"""Side of a panel."""
SPACE = 0.1
"""Between two panels."""
HEADING = 0.18
"""Height of the line over each panel."""
PITCH = PANEL + SPACE
# Margins.
LEFT = 1.12
RIGHT = 0.2
TOP = 0.86
BETWEEN = 0.42
"""Between two blocks."""
LINE = 0.185
"""Height of a line of the caption."""
LETTERS = 14.2
"""Letters of the caption that an inch holds."""
FAINT = "#d3d7dd"


def plot_toy(grids: Sequence[ToyGrid]) -> ReportFigure:
    """One block of panels for each grid, side by side."""
    words = caption(grids)
    block = len(grids[0].steps) * PITCH - SPACE
    width = LEFT + len(grids) * block + (len(grids) - 1) * BETWEEN + RIGHT
    lines = wrap(words, round((width - LEFT - RIGHT) * LETTERS))
    height = TOP + len(grids[0].samplers) * (PITCH + HEADING) + 0.3 + LINE * len(lines)
    figure = Figure(figsize=(width, height), dpi=DPI)
    FigureCanvasAgg(figure)
    figure.set_layout_engine("none")
    for number, grid in enumerate(grids):
        _plot_block(figure, grid, LEFT + number * (block + BETWEEN), height)
    for row, sampler in enumerate(grids[0].samplers):
        middle = height - TOP - row * (PITCH + HEADING) - HEADING - PANEL / 2
        _write(figure, 0.16, middle, sampler, color=PALETTE[row], fontsize=11, fontweight="bold")
    for number, line in enumerate(lines):
        _write(figure, LEFT, LINE * (len(lines) - number), line, color=MUTED, fontsize=9.5)
    return ReportFigure(figure, "What the number of steps does", words)


def caption(grids: Sequence[ToyGrid]) -> str:
    """What the panels show, and what to make of it."""
    samples = len(grids[0].clouds[0].points)
    points = len(grids[0].data)
    chance = _each_once(grid.chance for grid in grids)
    noise = _each_once(grid.noise for grid in grids)
    return (
        f"All samplers start from the same {samples:,} evenly spread latents and ask the exact denoiser of "
        f"the {points} grey points, so every error is the sampler's own. Over a panel: evaluations of the "
        "denoiser (NFE) and energy distance to the points, bold where it would not be noticed: of sets of as "
        f"many independent draws one in twenty is farther than {chance}. The latents are at {noise}. DDPM "
        "and DDIM end at σ = 0.01, where the exact denoiser picks single points: with few steps their clouds "
        "look sharp but leave the outer points out, whereas Euler's blur. The companion text 004 gives DDPM "
        "about 200 steps; with its betas respaced to the K steps, as here, about 50 do, and what is left "
        "then is mostly chance, from its own noise."
    )


def _each_once(distances: Iterable[float]) -> str:
    return " and ".join(dict.fromkeys(map(rounded, distances)))


def rounded(distance: float) -> str:
    """Two digits, and no more than five decimals."""
    return f"{distance:.2g}" if distance >= 1e-4 else f"{distance:.5f}".rstrip("0")


def _plot_block(figure: Any, grid: ToyGrid, left: float, height: float) -> None:
    _write(figure, left, height - 0.34, grid.title, fontsize=14, fontweight="bold")
    reach = 1.06 * max(
        np.abs(points).max() for points in (grid.data, *(cloud.points for cloud in grid.clouds))
    )
    for column, k in enumerate(grid.steps):
        x = left + column * PITCH
        _write(figure, x + PANEL / 2, height - TOP + 0.14, f"K = {k}", fontsize=10.5, ha="center")
        for row, sampler in enumerate(grid.samplers):
            bottom = height - TOP - (row + 1) * (PITCH + HEADING) + SPACE
            axes = figure.add_axes(_share(figure, x, bottom, PANEL, PANEL))
            _plot_panel(axes, grid, grid.cloud(sampler, k), reach, PALETTE[row])


def _plot_panel(axes: Any, grid: ToyGrid, cloud: ToyCloud, reach: float, colour: str) -> None:
    axes.scatter(*grid.data.T, s=2.4, color=FAINT, linewidths=0)
    axes.scatter(*cloud.points.T, s=1.5, color=colour, alpha=0.6, linewidths=0)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=GRID)
    axes.set_title(f"NFE {cloud.nfe}", loc="left", fontsize=8, color=MUTED, pad=3)
    weight = "bold" if cloud.distance <= grid.chance else "normal"
    axes.set_title(rounded(cloud.distance), loc="right", fontsize=8, color=INK, fontweight=weight, pad=3)


def _write(figure: Any, x: float, y: float, words: str, **style: Any) -> None:
    """Text at inches from the lower left corner."""
    figure.text(*_share(figure, x, y), words, va="center", **style)


def _share(figure: Any, *inches: float) -> tuple[float, ...]:
    """Inches, in turn along x and y, as fractions of the figure."""
    return tuple(float(length) / figure.get_size_inches()[index % 2] for index, length in enumerate(inches))
