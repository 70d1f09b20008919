"""Quality against the number of parameters, all trainings at the reference sampler."""

import math

from matplotlib.ticker import FuncFormatter

from reports.figures.base import FigureKind
from reports.figures.style import INK, PALETTE, ReportFigure, log_axis, log_if_wide, new_figure
from reports.formatting import scaled
from reports.read.overview import Overview


def plot(overview: Overview) -> ReportFigure | None:
    """The figure, or None when all networks have the same size or one size is all there is."""
    points = [
        (one.num_params, one.metrics[overview.distance], one.training)
        for one in overview.at_reference.values()
        if one.num_params is not None and math.isfinite(one.mean(overview.distance))
    ]
    if len({size for size, _, _ in points}) < 2:
        return None
    points.sort(key=lambda point: point[0])
    figure, (axes,) = new_figure(height=3.9)
    values = [value for _, estimate, _ in points for value in estimate.by_seed.values()]
    log_axis(axes.xaxis, [point[0] for point in points])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: scaled(size)))
    log_if_wide(axes, values)
    sizes, means = [size for size, _, _ in points], [estimate.mean for _, estimate, _ in points]
    axes.plot(sizes, means, color=PALETTE[0], marker="s", mfc="white", mew=1.6, ms=7)
    for size, estimate, training in points:
        seeds = list(estimate.by_seed.values())
        if len(seeds) > 1:
            axes.plot([size] * len(seeds), seeds, ls="", marker="o", ms=3, color=INK, alpha=0.8, zorder=4)
        if estimate.low is not None and estimate.high is not None:
            axes.plot([size, size], [estimate.low, estimate.high], color=PALETTE[0], lw=1.2)
        axes.annotate(
            training, (size, estimate.mean), (8, 8), textcoords="offset points", fontsize=9, color=INK
        )
    axes.margins(x=0.12, y=0.15)
    axes.set_xlabel("parameters")
    axes.set_ylabel(overview.facts(overview.distance).header)
    dots = " Dots are single training seeds." if overview.seeds[1] > 1 else ""
    caption = f"Every training at {overview.reference_sampler}.{dots} {overview.seeds_label}"
    return ReportFigure(figure, FIGURE.title, caption)


FIGURE = FigureKind(name="scale_quality", position=10, title="Quality against size", plot=plot)
