"""What a sampler's configuration says about it, read from its JSON."""

from collections.abc import Mapping
from typing import Any

DETERMINISTIC = frozenset({"heun", "euler"})
"""Samplers that never draw noise."""

STOCHASTICITY = {"edm_stochastic": "s_churn", "ddim": "eta"}
"""Samplers that draw noise unless this parameter is 0."""

FAMILIES = {"heun": "Heun", "euler": "Euler", "ddim": "DDIM", "ddpm": "DDPM", "edm_stochastic": "EDM stochastic"}
"""Solver families as figures name them."""


def is_deterministic(sampler: Mapping[str, Any]) -> bool:
    """Whether the images follow from the latents alone."""
    kind = sampler.get("kind")
    return kind in DETERMINISTIC or (kind in STOCHASTICITY and not sampler.get(STOCHASTICITY[kind], 0))


def family(sampler: Mapping[str, Any]) -> str:
    """The solver family a configuration belongs to: without churn EDM's sampler is Heun's."""
    kind = str(sampler.get("kind", "sampler"))
    if kind == "edm_stochastic" and is_deterministic(sampler):
        kind = "heun"
    name = FAMILIES.get(kind, kind)
    return f"{name} stochastic" if kind == "ddim" and not is_deterministic(sampler) else name
