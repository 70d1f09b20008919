"""What every distribution of training noise levels is, and what several share. Imports no torch."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from engine.frozen import Frozen
from engine.process.processes import ProcessBase

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ImportanceSampling:
    """Draws that follow the recent losses of each timestep."""

    history: int
    """Losses remembered for each timestep."""
    uniform_share: float
    """Part of the draws that stays uniform."""


class NoiseLevelsBase(Frozen):
    """How a noise level is drawn for each image of a batch."""

    stratified: bool = False
    """Draw image i of a batch of B from the i-th of B equal slices of the distribution:
    less variance, same mean."""

    strata: int = Field(default=1, ge=1)
    """Draw from so many equal slices of the distribution, an equal share of every batch from each:
    4 as DyDiT's code does. `stratified` has as many slices as images."""

    if TYPE_CHECKING:

        @property
        def kind(self) -> str:
            """The name in grids."""

    @model_validator(mode="after")
    def _one_number_of_slices(self) -> Self:
        if self.stratified and self.strata > 1:
            raise ValueError("stratified has a slice for every image of a batch: leave strata out")
        return self

    @property
    def importance(self) -> ImportanceSampling | None:
        """How draws follow the losses of a discrete process; None where they do not."""
        return None

    @abstractmethod
    def sigma(self, uniform: "Tensor", process: ProcessBase) -> "Tensor":
        """Noise levels at uniform draws in (0, 1), float64."""


class TruncatedBase(NoiseLevelsBase):
    """A distribution of ln(sigma) known by its quantiles, cut to a range where one is asked for.

    What is left of it keeps its shape: u becomes F(sigma_min)
    + u (F(sigma_max) - F(sigma_min)) [k-diffusion].
    """

    sigma_min: float | None = Field(default=None, gt=0)
    """Smallest noise level; None cuts nothing off."""
    sigma_max: float | None = Field(default=None, gt=0)
    """Largest noise level; None cuts nothing off."""

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.sigma_min is not None and self.sigma_max is not None:
            check_range(self.sigma_min, self.sigma_max)
        return self

    @abstractmethod
    def share_below(self, sigma: float) -> float:
        """The whole distribution's F(sigma)."""

    @abstractmethod
    def quantile(self, share: "Tensor") -> "Tensor":
        """The noise level below which a share of the whole distribution lies, float64."""

    def sigma(self, uniform: "Tensor", process: ProcessBase) -> "Tensor":
        """By inverting the distribution function, between those of the two ends."""
        if self.sigma_min is None and self.sigma_max is None:
            return self.quantile(uniform)
        low = 0.0 if self.sigma_min is None else self.share_below(self.sigma_min)
        high = 1.0 if self.sigma_max is None else self.share_below(self.sigma_max)
        return self.quantile(low + uniform * (high - low))


def standard_normal(uniform: "Tensor") -> "Tensor":
    """The standard normal quantile of uniform draws."""
    return math.sqrt(2) * (2 * uniform - 1).erfinv()


def normal_share(z: float) -> float:
    """The standard normal distribution function."""
    return 0.5 * math.erfc(-z / math.sqrt(2))


def check_range(sigma_min: float, sigma_max: float) -> None:
    """ValueError unless it rises."""
    if sigma_min >= sigma_max:
        raise ValueError(f"sigma_min {sigma_min:g} is not below sigma_max {sigma_max:g}")
