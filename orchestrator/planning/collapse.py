"""Why several points of a grid are one cell, in words."""

from collections.abc import Sequence

from engine.config.experiment import Experiment
from engine.config.model import UNetBase
from engine.data.registry import DATASETS
from orchestrator.grid import Point
from orchestrator.planning.identity import canonical_model


def collapse_reasons(members: Sequence[Point]) -> tuple[str, ...]:
    """Why these points are one sampler on the same weights, each reason once."""
    experiments = [point.experiment for point in members]
    reasons: list[str] = []
    if len({experiment.sample for experiment in experiments}) > 1:
        reasons += (reason for experiment in experiments for reason in experiment.sample.canonical().reasons)
    if len({experiment.model for experiment in experiments}) > 1:
        reasons.append(_idle_attention(experiments[0]))
    if len({experiment.weights for experiment in experiments}) > 1:
        halflife = experiments[0].train.ema_halflife_kimg
        reasons.append(f"weights ema with half-life {halflife:g} kimg are the training's own average")
    return tuple(dict.fromkeys(reasons)) or ("the same point is listed twice",)


def _idle_attention(experiment: Experiment) -> str:
    """Why networks with other attention resolutions are this one."""
    model = canonical_model(experiment)
    assert isinstance(model, UNetBase), "other networks have one form"
    side = DATASETS[experiment.data.name].resolution
    levels = ", ".join(str(side >> level) for level in range(len(model.channel_mult)))
    attended = ", ".join(map(str, model.attention_resolutions)) or "none"
    return f"images of {side} pixels have levels of {levels}: attention acts at {attended} of them"
