"""Samplers: each takes a denoiser and unit noise and gives images; none imports torch when only planned."""

from typing import Annotated

from pydantic import Field

from engine.samplers.base import Canonical, DenoiseFn, NoiseFn, SamplerBase
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.euler import Euler
from engine.samplers.flow import Flow
from engine.samplers.heun import Heun

SAMPLERS: dict[str, type[SamplerBase]] = {
    "ddim": Ddim,
    "ddpm": Ddpm,
    "edm_stochastic": EdmStochastic,
    "euler": Euler,
    "flow": Flow,
    "heun": Heun,
}

Sampler = Annotated[Ddim | Ddpm | EdmStochastic | Euler | Flow | Heun, Field(discriminator="kind")]
"""Any sampler, told apart by its `kind`."""

__all__ = [
    "SAMPLERS",
    "Canonical",
    "Ddim",
    "Ddpm",
    "DenoiseFn",
    "EdmStochastic",
    "Euler",
    "Flow",
    "Heun",
    "NoiseFn",
    "Sampler",
    "SamplerBase",
]
