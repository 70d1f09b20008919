"""Why several points of a grid are one cell, in words."""

from collections.abc import Sequence

from engine.data.registry import DATASETS
from orchestrator.grid import Point


def collapse_reasons(members: Sequence[Point]) -> tuple[str, ...]:
    """Why these points are one sampler on the same weights, each reason once."""
    experiments = [point.experiment for point in members]
    reasons: list[str] = []
    if len({experiment.sample for experiment in experiments}) > 1:
        reasons += (reason for experiment in experiments for reason in experiment.sample.canonical().reasons)
    if len({experiment.model for experiment in experiments}) > 1:
        side = DATASETS[experiments[0].data.name].resolution
        reasons.append(experiments[0].model.one_form_reason(side))
    if len({experiment.weights for experiment in experiments}) > 1:
        halflife = experiments[0].train.ema_halflife_kimg
        reasons.append(f"weights ema with half-life {halflife:g} kimg are the training's own average")
    return tuple(dict.fromkeys(reasons)) or ("the same point is listed twice",)
