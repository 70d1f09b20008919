"""Loss weights, all written for the squared error of x0_hat as functions of sigma, SNR being 1 / sigma^2.

A network that predicts another target makes an error of x0_hat that is c_out times its own, so there the
weight is c_out^2 times the one written here [engine facts B3; companion text 002, section 7].
"""

from abc import abstractmethod
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from engine.frozen import Frozen
from engine.kinds import Kinds
from engine.process.schedules import TERMINAL_SIGMA

if TYPE_CHECKING:
    from torch import Tensor


class WeightingBase(Frozen):
    """A weight of the squared error of x0_hat at any noise level."""

    if TYPE_CHECKING:

        @property
        def kind(self) -> str:
            """The name in grids."""

    @abstractmethod
    def __call__(self, sigma: "Tensor", c_out: "Tensor") -> "Tensor":
        """Weight at noise levels `sigma` (float64); `c_out` is the preconditioning's, of the same shape."""


class UniformWeight(WeightingBase):
    """1 on the trained target: L_simple for eps, v- and flow-matching losses for v and u [P1 Eq. 14]."""

    kind: Literal["uniform"] = "uniform"

    def __call__(self, sigma: "Tensor", c_out: "Tensor") -> "Tensor":
        """1 / c_out^2."""
        return c_out**-2


class SnrWeight(WeightingBase):
    """SNR^gamma: at gamma 1 the loss of eps, at 0 that of x0."""

    kind: Literal["snr"] = "snr"
    gamma: float = Field(default=1.0, ge=0)
    """Exponent."""

    def __call__(self, sigma: "Tensor", c_out: "Tensor") -> "Tensor":
        """sigma^(-2 gamma)."""
        return sigma ** (-2 * self.gamma)


class MinSnrWeight(WeightingBase):
    """min(SNR, gamma) [Hang et al. 2023]."""

    kind: Literal["min_snr"] = "min_snr"
    gamma: float = Field(default=5.0, gt=0)
    """Largest weight."""

    def __call__(self, sigma: "Tensor", c_out: "Tensor") -> "Tensor":
        """SNR, at most gamma."""
        return (sigma**-2).clamp(max=self.gamma)


class MaxSnrWeight(WeightingBase):
    """max(SNR, floor), the truncated SNR weight [Salimans & Ho 2022]."""

    kind: Literal["max_snr"] = "max_snr"
    floor: float = Field(default=1.0, gt=0)
    """Smallest weight."""

    def __call__(self, sigma: "Tensor", c_out: "Tensor") -> "Tensor":
        """SNR, at least the floor."""
        return (sigma**-2).clamp(min=self.floor)


class ClippedSnrWeight(WeightingBase):
    """SNR between two bounds [002 section 7]."""

    kind: Literal["clipped_snr"] = "clipped_snr"
    low: float = Field(default=0.1, gt=0)
    """Smallest weight."""
    high: float = Field(default=5.0, gt=0)
    """Largest weight."""

    @model_validator(mode="after")
    def _ordered(self) -> "ClippedSnrWeight":
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        return self

    def __call__(self, sigma: "Tensor", c_out: "Tensor") -> "Tensor":
        """SNR, within [low, high]."""
        return (sigma**-2).clamp(self.low, self.high)


class P2Weight(WeightingBase):
    """SNR / (k + SNR)^gamma: P2's 1 / (k + SNR)^gamma on the error of eps [Choi et al. 2022]."""

    kind: Literal["p2"] = "p2"
    k: float = Field(default=1.0, gt=0)
    """Offset."""
    gamma: float = Field(default=1.0, ge=0)
    """Exponent; the paper uses 0.5 and 1."""

    def __call__(self, sigma: "Tensor", c_out: "Tensor") -> "Tensor":
        """SNR / (k + SNR)^gamma."""
        snr = sigma**-2
        return snr * (self.k + snr) ** -self.gamma


class EdmWeight(WeightingBase):
    """lambda(sigma) = SNR + 1 / sigma_data^2 [P3 Table 1; playbook 3.4]."""

    kind: Literal["edm"] = "edm"
    sigma_data: float = Field(default=0.5, gt=0)
    """Standard deviation of the data."""

    def __call__(self, sigma: "Tensor", c_out: "Tensor") -> "Tensor":
        """(sigma^2 + sigma_data^2) / (sigma sigma_data)^2 = 1 / c_out^2 of EDM's preconditioning."""
        return (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2


class SoftMinSnrWeight(WeightingBase):
    """SNR gamma / (SNR + gamma): a smooth min(SNR, gamma)."""

    kind: Literal["soft_min_snr"] = "soft_min_snr"
    gamma: float = Field(default=4.0, gt=0)
    """Largest weight, approached at low noise; 4 is 1 / sigma_data^2 at sigma_data = 0.5."""

    def __call__(self, sigma: "Tensor", c_out: "Tensor") -> "Tensor":
        """1 / (sigma^2 + 1 / gamma)."""
        return 1 / (sigma**2 + 1 / self.gamma)


WEIGHTINGS: Kinds[type[WeightingBase]] = Kinds(
    "weighting",
    (
        UniformWeight,
        SnrWeight,
        MinSnrWeight,
        MaxSnrWeight,
        ClippedSnrWeight,
        P2Weight,
        EdmWeight,
        SoftMinSnrWeight,
    ),
)
"""Every weighting's class by its `kind`."""

if TYPE_CHECKING:
    Weighting = WeightingBase
else:
    Weighting = WEIGHTINGS.union()
"""A field's type: any weighting, told apart by its `kind`."""


def target_weight(weighting: WeightingBase, sigma: "Tensor", c_out: "Tensor") -> "Tensor":
    """The weight of the squared error of the trained target: c_out^2 times the weight of x0_hat.

    At zero SNR it is 1, as Min-SNR's code has it:
    weights that vanish there would leave the last timestep untrained.
    """
    weight = weighting(sigma, c_out) * c_out**2
    return weight.where(sigma < TERMINAL_SIGMA, weight.new_ones(()))
