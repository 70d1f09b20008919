"""The training densities of k-diffusion [github.com/crowsonkb/k-diffusion, `sigma_sample_density`].
Imports no torch.

Its `lognormal` and `loguniform` are `log_normal` and `log_uniform` here;
its stratified draws are `stratified: true`.
"""

import math
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from engine.process.noise_levels_base import (
    NoiseLevelsBase,
    TruncatedBase,
    check_range,
    normal_share,
    standard_normal,
)
from engine.process.processes import ProcessBase

if TYPE_CHECKING:
    from torch import Tensor


class SplitLogNormal(TruncatedBase):
    """ln(sigma) normal on either side of its mode, with a spread for each [k-diffusion, split-lognormal].

    The density of z = ln(sigma) - mode is 2 / (std_low + std_high) times phi(z / std_low) below 0 and phi(z /
    std_high) above, so that it has no jump. With equal spreads it is `log_normal`.
    """

    kind: Literal["split_log_normal"] = "split_log_normal"
    mode: float = -1.2
    """Where the two halves meet (k-diffusion's loc)."""
    std_low: float = Field(default=1.2, gt=0)
    """Spread of ln(sigma) below the mode (scale_1)."""
    std_high: float = Field(default=1.2, gt=0)
    """Spread of ln(sigma) above the mode (scale_2)."""

    @property
    def _low_share(self) -> float:
        """What lies below the mode."""
        return self.std_low / (self.std_low + self.std_high)

    def share_below(self, sigma: float) -> float:
        """The halves' own distribution functions, each times twice its share."""
        z = math.log(sigma) - self.mode
        if z < 0:
            return 2 * self._low_share * normal_share(z / self.std_low)
        return 1 - 2 * (1 - self._low_share) * normal_share(-z / self.std_high)

    def quantile(self, share: "Tensor") -> "Tensor":
        """By inverting the half in which the share lies."""
        below = self.std_low * standard_normal((share / (2 * self._low_share)).clamp(max=0.5))
        above = self.std_high * standard_normal(
            (1 - (1 - share) / (2 * (1 - self._low_share))).clamp(min=0.5)
        )
        return (self.mode + below.where(share < self._low_share, above)).exp()


class LogLogistic(TruncatedBase):
    """ln(sigma) logistic: a normal distribution's shape with heavier tails [k-diffusion, loglogistic]."""

    kind: Literal["log_logistic"] = "log_logistic"
    mean: float = math.log(0.5)
    """Mean of ln(sigma) (loc); k-diffusion's default is that of the data's standard deviation."""
    scale: float = Field(default=0.5, gt=0)
    """Of the logistic distribution, whose standard deviation is pi / sqrt(3) times as large."""

    def share_below(self, sigma: float) -> float:
        """1 / (1 + exp(-(ln sigma - mean) / scale))."""
        return 1 / (1 + math.exp(-(math.log(sigma) - self.mean) / self.scale))

    def quantile(self, share: "Tensor") -> "Tensor":
        """exp(mean + scale logit(u))."""
        return (self.mean + self.scale * share.logit()).exp()


class VDiffusion(TruncatedBase):
    """sigma / sigma_data = tan(pi t / 2) with uniform t:
    even in v-prediction's angle [k-diffusion, v-diffusion]."""

    kind: Literal["v_diffusion"] = "v_diffusion"
    sigma_data: float = Field(default=0.5, gt=0)
    """Standard deviation of the data, the median."""

    def share_below(self, sigma: float) -> float:
        """2 / pi atan(sigma / sigma_data)."""
        return math.atan(sigma / self.sigma_data) * 2 / math.pi

    def quantile(self, share: "Tensor") -> "Tensor":
        """sigma_data tan(pi u / 2)."""
        return self.sigma_data * (share * (math.pi / 2)).tan()


class CosineInterpolated(NoiseLevelsBase):
    """Simple diffusion's cosine schedule, shifted for the size of images [k-diffusion, cosine-interpolated].

    With s = 2 ln(d / image_size) a schedule shifted to resolution d has ln SNR = s - 2 ln tan(angle),
    the angle even between those of the two ends; ln SNR here runs from that of `noise_d_low` at the
    highest noise level to that of `noise_d_high` at the lowest. SNR is (sigma_data / sigma)^2.
    """

    kind: Literal["cosine_interpolated"] = "cosine_interpolated"
    image_size: int = Field(default=32, ge=1)
    """Side of the images in pixels (image_d)."""
    noise_d_low: int = Field(default=32, ge=1)
    """Resolution whose schedule rules at high noise."""
    noise_d_high: int | None = Field(default=None, ge=1)
    """Resolution whose schedule rules at low noise; None is image_size, as by default in k-diffusion."""
    sigma_data: float = Field(default=0.5, gt=0)
    """Standard deviation of the data."""
    sigma_min: float = Field(default=1e-3, gt=0)
    """Smallest noise level."""
    sigma_max: float = Field(default=1e3, gt=0)
    """Largest noise level."""

    @model_validator(mode="after")
    def _rises(self) -> Self:
        check_range(self.sigma_min, self.sigma_max)
        return self

    def sigma(self, uniform: "Tensor", process: ProcessBase) -> "Tensor":
        """sigma_data exp(-ln SNR / 2), rising with u."""
        falling = 1 - uniform
        low = self._log_snr(falling, self.noise_d_low)
        high = self._log_snr(falling, self.noise_d_high or self.image_size)
        return self.sigma_data * (-(low + falling * (high - low)) / 2).exp()

    def _log_snr(self, falling: "Tensor", resolution: int) -> "Tensor":
        """ln SNR of the schedule shifted to a resolution, at 0 that of sigma_max, at 1 that of sigma_min."""
        ratio = resolution / self.image_size
        most, least = (
            math.atan(ratio * sigma / self.sigma_data) for sigma in (self.sigma_max, self.sigma_min)
        )
        angle = most + falling * (least - most)
        return 2 * math.log(ratio) - 2 * angle.tan().log()
