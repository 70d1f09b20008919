"""Samplers: each takes a denoiser and unit noise and gives images; none imports torch when only planned."""

from typing import Annotated

from pydantic import Field

from engine.samplers.base import Canonical, DenoiseFn, NoiseFn, SamplerBase
from engine.samplers.ddim import Ddim
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.euler import Euler
from engine.samplers.heun import Heun

SAMPLERS: dict[str, type[SamplerBase]] = {
    "ddim": Ddim,
    "edm_stochastic": EdmStochastic,
    "euler": Euler,
    "heun": Heun,
}

Sampler = Annotated[Ddim | EdmStochastic | Euler | Heun, Field(discriminator="kind")]
"""Any sampler, told apart by its `kind`."""

__all__ = [
    "SAMPLERS",
    "Canonical",
    "Ddim",
    "DenoiseFn",
    "EdmStochastic",
    "Euler",
    "Heun",
    "NoiseFn",
    "Sampler",
    "SamplerBase",
]
