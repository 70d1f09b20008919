"""What a sampler's configuration says about it, read from its JSON."""

from collections.abc import Mapping
from typing import Any

FAMILIES = {
    "heun": "Heun",
    "euler": "Euler",
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "edm_stochastic": "EDM stochastic",
    "flow": "flow",
}
"""Solver families as figures name them."""

METHODS = {"euler": "Euler", "heun": "Heun", "rk4": "RK4"}
"""How a flow is integrated."""


def is_deterministic(sampler: Mapping[str, Any]) -> bool:
    """Whether the images follow from the latents alone."""
    match sampler.get("kind"):
        case "heun" | "euler" | "flow":
            return True
        case "edm_stochastic":
            return not sampler.get("s_churn", 0)
        case "ddim":
            noisy = sampler.get("eta", 0) or sampler.get("noisy", False)
            return not noisy and sampler.get("covariance", "none") == "none"
    return False


def family(sampler: Mapping[str, Any]) -> str:
    """The solver family a configuration belongs to: without churn EDM's sampler is Heun's."""
    kind = str(sampler.get("kind", "sampler"))
    if kind == "edm_stochastic" and is_deterministic(sampler):
        kind = "heun"
    name, covariance = FAMILIES.get(kind, kind), str(sampler.get("covariance", "none"))
    if kind == "flow":
        return f"{name} {METHODS.get(str(sampler.get('method')), '')}".strip()
    if covariance not in ("none", "beta_tilde"):
        return f"{name} {covariance.replace('_', ' ')}"
    return f"{name} stochastic" if kind == "ddim" and not is_deterministic(sampler) else name
