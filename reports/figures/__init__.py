"""Figures of a report: one file each. To add one, write its file and one line here."""

from collections.abc import Callable

from reports.figures import (
    churn,
    flops_quality,
    heat_map,
    nfe_quality,
    same_latents,
    scale_quality,
    scaling_law,
    training_curves,
)
from reports.figures.style import Drawing
from reports.read.overview import Overview

FIGURES: dict[str, Callable[[Overview], Drawing | None]] = {
    "scale_quality": scale_quality.draw,
    "scaling_law": scaling_law.draw,
    "flops_quality": flops_quality.draw,
    "nfe_quality": nfe_quality.draw,
    "churn": churn.draw,
    "heat_map": heat_map.draw,
    "same_latents": same_latents.draw,
    "training_curves": training_curves.draw,
}
"""Name -> drawing function; it returns None when its figure does not apply to a sweep."""

__all__ = ["FIGURES", "Drawing"]
