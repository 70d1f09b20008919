"""Objectives: a loss draws a noise level, adds noise, denoises, weighs and squares."""

from collections.abc import Callable

from torch import Tensor

from engine.objectives import ddpm, edm

OBJECTIVES: dict[str, Callable[..., Tensor]] = {"edm": edm.losses, "simple": ddpm.losses}
"""Loss of each objective kind: (objective, denoise, x0, label, uniform, eps) -> one value per image."""
