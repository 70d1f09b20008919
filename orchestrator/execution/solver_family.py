"""The family that figures name a solver by."""

from engine.samplers.base import SamplerBase

FAMILIES = {
    "heun": "Heun",
    "euler": "Euler",
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "edm_stochastic": "EDM stochastic",
    "flow": "flow",
}
METHODS = {"euler": "Euler", "heun": "Heun", "rk4": "RK4"}
"""How a flow is integrated."""


def solver_family(sampler: SamplerBase) -> str:
    """The family of a sampler: what acts without noise is called by the solver that it then is."""
    covariance = str(getattr(sampler, "covariance", "none"))
    if sampler.kind == "flow":
        return f"flow {METHODS.get(getattr(sampler, 'method', ''), '')}".strip()
    if sampler.kind == "edm_stochastic" and sampler.deterministic:
        return "Heun"
    name = FAMILIES.get(sampler.kind, sampler.kind)
    if covariance not in ("none", "beta_tilde"):
        return f"{name} {covariance.replace('_', ' ')}"
    return f"{name} stochastic" if sampler.kind == "ddim" and not sampler.deterministic else name
