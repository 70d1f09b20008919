"""One reverse step of a discrete chain, from alpha_bar to a
larger alpha_bar_next however far off, and its variance."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    from engine.posterior import Posterior

Number = TypeVar("Number", float, "Tensor")

CovarianceName = Literal["beta", "beta_tilde", "learned_range", "analytic", "ocm", "npr", "sn", "direct"]
"""Which variance a reverse step has: the two ends of P1, P1's learned range between them, or one that
knows Cov[x0 | x].

analytic: one number for a noise level; the others one for every pixel. ocm, npr and sn: what the head says
that the objective of this name has trained. direct: P6's estimate by random signs, with gradients of the
network's output.
"""

OF_HEADS: tuple[CovarianceName, ...] = ("ocm", "npr", "sn")
"""Covariances that a trained head gives."""

KNOWN: tuple[CovarianceName, ...] = ("analytic", *OF_HEADS, "direct")
"""Covariances that know Cov[x0 | x]."""


def reverse_betas(alpha_bar: Number, alpha_bar_next: Number) -> tuple[Number, Number]:
    """beta and beta_tilde of the step: the largest and the
    smallest variance the data can ask for [P1 2.1; P2].

    beta = 1 - alpha_bar / alpha_bar_next is exact for x0 ~ N(0, 1), beta_tilde = beta (1 - alpha_bar_next) /
    (1 - alpha_bar) for a single x0.
    """
    beta = 1 - alpha_bar / alpha_bar_next
    return beta, (1 - alpha_bar_next) / (1 - alpha_bar) * beta


def learned_range(fraction: "Tensor", beta: Number, beta_tilde: Number) -> "Tensor":
    """exp of the line from ln(beta_tilde) at fraction -1 to ln(beta) at fraction 1;
    not clamped [P1 Eq. 15, code].

    P1's code replaces the last step's beta_tilde = 0 by its neighbour's. Only the bound needs that: no
    sampler adds noise on that step.
    """
    import torch

    share = (fraction + 1) / 2
    log_beta, log_tilde = (torch.as_tensor(value, dtype=fraction.dtype).log() for value in (beta, beta_tilde))
    return (share * log_beta + (1 - share) * log_tilde).exp()


@dataclass(frozen=True)
class ReverseStep:
    """One step of the generalised reverse process:
    alpha_bar_next lies above alpha_bar, 1 being x0 [P2 Eq. 12, 16]."""

    alpha_bar: float
    alpha_bar_next: float
    eta: float = 1.0
    """Share of DDPM's noise: 1 is its own posterior, at 0 the step is a function of x and x0."""

    @property
    def std(self) -> float:
        """Standard deviation of the step if x0 were known: eta sqrt(beta_tilde)."""
        return self.eta * math.sqrt(reverse_betas(self.alpha_bar, self.alpha_bar_next)[1])

    @property
    def eps_weight(self) -> float:
        """What eps contributes to the mean: sqrt(1 - alpha_bar_next - std^2)."""
        return math.sqrt(max(0.0, 1 - self.alpha_bar_next - self.std**2))

    @property
    def x0_weight(self) -> float:
        """How far the mean moves when x0 does and x stays, eps being what is left of x."""
        return math.sqrt(self.alpha_bar_next) - self.eps_weight * math.sqrt(
            self.alpha_bar / (1 - self.alpha_bar)
        )

    def mean(self, x0_hat: "Tensor", eps_hat: "Tensor") -> "Tensor":
        """Mean of x at alpha_bar_next; DDPM's posterior mean at eta = 1 when the two agree with x."""
        return math.sqrt(self.alpha_bar_next) * x0_hat + self.eps_weight * eps_hat

    def fixed_std(self, covariance: CovarianceName) -> float | None:
        """Standard deviation of the noise where it is the same whatever the network says; else None."""
        if covariance == "beta_tilde":
            return self.std
        if covariance == "beta":
            return math.sqrt(reverse_betas(self.alpha_bar, self.alpha_bar_next)[0])
        return None

    def noise_std(
        self, covariance: CovarianceName, posterior: "Posterior", limit: float = math.inf
    ) -> "float | Tensor":
        """Standard deviation of the noise to add.

        With Cov[x0 | x] the variance is std^2 + x0_weight^2 Cov: what the step leaves open for a known x0,
        and what is open about x0. Its diagonal is all that noise independent between pixels can use [P6;
        engine facts B9]. Cov is clamped to [0, 1], the largest variance of data in [-1, 1], and the result to
        at most `limit`.
        """
        fixed = self.fixed_std(covariance)
        if fixed is not None:
            return min(fixed, limit)
        if covariance == "learned_range":
            assert posterior.range_fraction is not None
            betas = reverse_betas(self.alpha_bar, self.alpha_bar_next)
            return learned_range(posterior.range_fraction, *betas).sqrt().clamp(max=limit)
        assert posterior.x0_variance is not None
        return (self.std**2 + self.x0_weight**2 * posterior.x0_variance.clamp(0, 1)).sqrt().clamp(max=limit)


def pixel_std(pixels: float) -> float:
    """Standard deviation of noise whose mean absolute value is
    `pixels` steps of 2 / 255 [Bao et al. 2022; P6 code]."""
    return pixels * (2 / 255) * math.sqrt(math.pi / 2)
