"""Distributions of the training noise level sigma, each a map from uniform draws in (0, 1)."""

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from engine.kinds import Kinds
from engine.process.k_diffusion_levels import CosineInterpolated, LogLogistic, SplitLogNormal, VDiffusion
from engine.process.noise_levels_base import ImportanceSampling as ImportanceSampling
from engine.process.noise_levels_base import NoiseLevelsBase as NoiseLevelsBase
from engine.process.noise_levels_base import TruncatedBase, check_range, normal_share
from engine.process.noise_levels_base import standard_normal as standard_normal
from engine.process.processes import ProcessBase

if TYPE_CHECKING:
    from torch import Tensor


class UniformTime(NoiseLevelsBase):
    """Uniform over the process's own time: timesteps of a discrete chain, t of a flow or an SDE [P1 2.1]."""

    kind: Literal["uniform"] = "uniform"

    def sigma(self, uniform: "Tensor", process: ProcessBase) -> "Tensor":
        """The process's noise level at that fraction of its time."""
        return process.sigma_at(uniform)


class LogNormal(TruncatedBase):
    """ln(sigma) ~ N(mean, std^2) [P3 Table 1; playbook 3.4]."""

    kind: Literal["log_normal"] = "log_normal"
    mean: float = -1.2
    """Mean of ln(sigma)."""
    std: float = Field(default=1.2, gt=0)
    """Standard deviation of ln(sigma)."""

    def share_below(self, sigma: float) -> float:
        """Phi((ln sigma - mean) / std)."""
        return normal_share((math.log(sigma) - self.mean) / self.std)

    def quantile(self, share: "Tensor") -> "Tensor":
        """By inverting the normal distribution."""
        return (self.mean + self.std * standard_normal(share)).exp()


class LogUniform(NoiseLevelsBase):
    """ln(sigma) uniform between two levels; P3's VE loss between 0.02 and 100."""

    kind: Literal["log_uniform"] = "log_uniform"
    sigma_min: float = Field(default=0.02, gt=0)
    """Smallest noise level."""
    sigma_max: float = Field(default=100.0, gt=0)
    """Largest noise level."""

    @model_validator(mode="after")
    def _rises(self) -> "LogUniform":
        check_range(self.sigma_min, self.sigma_max)
        return self

    def sigma(self, uniform: "Tensor", process: ProcessBase) -> "Tensor":
        """sigma_min (sigma_max / sigma_min)^u."""
        return self.sigma_min * (uniform * math.log(self.sigma_max / self.sigma_min)).exp()


class LinearUniform(NoiseLevelsBase):
    """sigma uniform between two levels [playbook 3.4]."""

    kind: Literal["linear_uniform"] = "linear_uniform"
    sigma_min: float = Field(default=0.002, gt=0)
    """Smallest noise level."""
    sigma_max: float = Field(default=80.0, gt=0)
    """Largest noise level."""

    @model_validator(mode="after")
    def _rises(self) -> "LinearUniform":
        check_range(self.sigma_min, self.sigma_max)
        return self

    def sigma(self, uniform: "Tensor", process: ProcessBase) -> "Tensor":
        """sigma_min + u (sigma_max - sigma_min)."""
        return self.sigma_min + uniform * (self.sigma_max - self.sigma_min)


class LogitNormal(NoiseLevelsBase):
    """logit(t) ~ N(mean, std^2) over the process's time:
    more training in the middle of a flow [Esser et al. 2024]."""

    kind: Literal["logit_normal"] = "logit_normal"
    mean: float = 0.0
    """Mean of logit(t)."""
    std: float = Field(default=1.0, gt=0)
    """Standard deviation of logit(t)."""

    def sigma(self, uniform: "Tensor", process: ProcessBase) -> "Tensor":
        """The process's noise level at t = 1 / (1 + exp(-z))."""
        return process.sigma_at((self.mean + self.std * standard_normal(uniform)).sigmoid())


class LossSecondMoment(NoiseLevelsBase):
    """Timesteps in proportion to the root mean square of their recent losses [P1 3.3, code; playbook 3.3].

    Only for a discrete process. Uniform until every timestep has a full history; the loss is divided by the
    probability, so its mean stays the same. The history is part of the checkpoint.
    """

    kind: Literal["loss_second_moment"] = "loss_second_moment"
    history: int = Field(default=10, ge=1)
    """Losses remembered for each timestep."""
    uniform_share: float = Field(default=0.001, gt=0, le=1)
    """Part of the draws that stays uniform."""

    @property
    def importance(self) -> ImportanceSampling:
        """As configured."""
        return ImportanceSampling(self.history, self.uniform_share)

    def sigma(self, uniform: "Tensor", process: ProcessBase) -> "Tensor":
        """The noise levels before every timestep has its history: uniform."""
        return process.sigma_at(uniform)


NOISE_LEVELS: Kinds[type[NoiseLevelsBase]] = Kinds(
    "noise levels",
    (
        UniformTime,
        LogNormal,
        LogUniform,
        LinearUniform,
        LogitNormal,
        LossSecondMoment,
        SplitLogNormal,
        LogLogistic,
        VDiffusion,
        CosineInterpolated,
    ),
)
"""Every distribution's class by its `kind`."""

if TYPE_CHECKING:
    NoiseLevels = NoiseLevelsBase
else:
    NoiseLevels = NOISE_LEVELS.union()
"""A field's type: any distribution of noise levels, told apart by its `kind`."""
