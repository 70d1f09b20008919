"""Objectives: a loss adds noise to images at given noise levels, denoises, weighs and squares."""

from engine.objectives import ocm, regression, vlb
from engine.objectives.base import LossFn, Noised, Terms

OBJECTIVES: dict[str, LossFn] = {
    "edm": regression.losses,
    "simple": regression.losses,
    "hybrid": vlb.hybrid_losses,
    "vlb": vlb.vlb_losses,
    "flow": regression.losses,
    "regression": regression.losses,
    "ocm": ocm.losses,
}
"""Loss of each objective kind: (objective, denoiser, batch) -> values per image, `loss` among them."""

__all__ = ["OBJECTIVES", "LossFn", "Noised", "Terms"]
