"""One reverse step of a variance-preserving chain, with any variance and clipping."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.posterior import Posterior
from engine.process.covariance import CovarianceName, ReverseStep
from engine.process.schedules import sigma_of
from engine.samplers.steps import DenoiseRequest, NoiseFn, StepCoroutine

if TYPE_CHECKING:
    import torch

ClipName = Literal["none", "x0", "x0_and_eps"]
"""none: as predicted; x0: x0_hat to [-1, 1], eps_hat as predicted; x0_and_eps: eps_hat follows the clipped
x0_hat."""

KNOWN = ("analytic", "ocm")
"""Covariances that know Cov[x0 | x]."""

NEEDED: dict[CovarianceName, str] = {
    "learned_range": "range_fraction",
    "analytic": "x0_variance",
    "ocm": "x0_variance",
}
"""The field of the posterior that a covariance needs; the others need none."""


@dataclass(frozen=True)
class ChainStep:
    """One reverse step of a chain in its own, variance-preserving coordinates [P2 Eq. 12, 16]."""

    reverse: ReverseStep
    clip: ClipName
    covariance: CovarianceName
    limit: float
    """Largest standard deviation of the noise."""
    number: int
    """Number of the step, which keys its noise."""
    evaluations: ClassVar[int] = 1

    def run(self, x: "torch.Tensor", noise: NoiseFn) -> StepCoroutine:
        """x at the next timestep. ValueError when the answer does not say what the covariance needs."""
        alpha_bar = self.reverse.alpha_bar
        posterior = yield DenoiseRequest(
            x / math.sqrt(alpha_bar), sigma_of(alpha_bar), with_variance=self.covariance in NEEDED
        )
        require_variance(posterior, self.covariance)
        mean = self.reverse.mean(*clipped(self.clip, posterior.x0_hat, x, alpha_bar))
        if self.reverse.alpha_bar_next == 1:
            return mean
        std = self.reverse.noise_std(self.covariance, posterior, self.limit)
        return mean if isinstance(std, float) and std == 0 else mean + std * noise(self.number)


def require_variance(posterior: Posterior, covariance: CovarianceName) -> None:
    """ValueError when a posterior does not say what a covariance needs."""
    needed = NEEDED.get(covariance)
    if needed and getattr(posterior, needed) is None:
        raise ValueError(f"covariance {covariance} needs a denoiser whose posterior(x, sigma) gives {needed}")


def clipped(
    clip: ClipName, x0_hat: "torch.Tensor", x: "torch.Tensor", alpha_bar: float
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """(x0_hat, eps_hat) of x = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps, clipped as named."""
    kept = x0_hat if clip == "none" else x0_hat.clamp(-1, 1)
    source = kept if clip == "x0_and_eps" else x0_hat
    return kept, (x - math.sqrt(alpha_bar) * source) / math.sqrt(1 - alpha_bar)
