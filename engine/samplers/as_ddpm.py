"""DDIM at eta = 1 is DDPM under another name: what is measured of one is measured of the other."""

from engine.samplers.base import SamplerBase
from engine.samplers.chain import ChainSampler
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm


def as_ddpm(sampler: SamplerBase) -> Ddpm | None:
    """The DDPM sampler that does the same; None where there is none, or where a single step adds no noise."""
    if isinstance(sampler, Ddpm):
        return None if sampler.deterministic else sampler
    if not isinstance(sampler, Ddim) or sampler.eta != 1 or sampler.clip == "x0" or sampler.deterministic:
        return None
    covariance = "beta_tilde" if sampler.covariance == "none" else sampler.covariance
    common = {field: getattr(sampler, field) for field in ChainSampler.model_fields}
    return Ddpm(**common, covariance="beta" if sampler.noisy else covariance, clip_x0=sampler.clip != "none")
