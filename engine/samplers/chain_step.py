"""One reverse step of a variance-preserving chain, with any variance and clipping."""

import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from engine.posterior import Posterior
from engine.process.covariance import KNOWN, CovarianceName, ReverseStep
from engine.process.schedules import sigma_of
from engine.samplers.steps import DenoiseRequest, NoiseFn, StepCoroutine

if TYPE_CHECKING:
    import torch

ClipName = Literal["none", "x0", "x0_and_eps"]
"""none: as predicted; x0: x0_hat to [-1, 1], eps_hat as predicted;
x0_and_eps: eps_hat follows the clipped x0_hat."""

NEEDED: dict[CovarianceName, str] = {
    "learned_range": "range_fraction",
    **dict.fromkeys(KNOWN, "x0_variance"),
}
"""The field of the posterior that a covariance needs; the others need none."""

FIRST_PROBE = 2**30
MOST_PROBES = 2**14
"""Probe m of step i is keyed by step number FIRST_PROBE + i MOST_PROBES + m, which no step's noise has."""


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
    probes: int = 0
    """Estimates of the variance by random signs that are averaged; 0 where it is known otherwise."""

    @property
    def evaluations(self) -> int:
        """One, or a pass forwards and one back for each probe."""
        return 2 * self.probes or 1

    def run(self, x: "torch.Tensor", noise: NoiseFn) -> StepCoroutine:
        """x at the next timestep. ValueError when the answer does not say what the covariance needs."""
        alpha_bar = self.reverse.alpha_bar
        asked = DenoiseRequest(
            x / math.sqrt(alpha_bar), sigma_of(alpha_bar), with_variance=self.covariance in NEEDED
        )
        if self.probes:
            posterior = yield from self._probed(asked, noise)
        else:
            posterior = yield asked
        require_variance(posterior, self.covariance)
        mean = self.reverse.mean(*clipped(self.clip, posterior.x0_hat, x, alpha_bar))
        if self.reverse.alpha_bar_next == 1:
            return mean
        std = self.reverse.noise_std(self.covariance, posterior, self.limit)
        return mean if isinstance(std, float) and std == 0 else mean + std * noise(self.number)

    def _probed(
        self, asked: DenoiseRequest, noise: NoiseFn
    ) -> Generator[DenoiseRequest, Posterior, Posterior]:
        """The mean, and the average of P6's estimates of the variance [P6; playbook A.8].

        Each takes its own passes of the network, as P6's code
        does, so that memory does not grow with their number.
        """
        total: torch.Tensor | None = None
        for probe in range(self.probes):
            drawn = noise(FIRST_PROBE + self.number * MOST_PROBES + probe)
            signs = (drawn >= 0).to(drawn.dtype) * 2 - 1
            answer = yield asked._replace(signs=signs)
            require_variance(answer, self.covariance)
            assert answer.x0_variance is not None
            total = answer.x0_variance if total is None else total + answer.x0_variance
        assert total is not None
        return replace(answer, x0_variance=total / self.probes)


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


def no_limit_words(clip_pixels_for: str) -> str:
    """Why clip_pixels does nothing, for a plan."""
    where = "a step that lands on timestep 0"
    if clip_pixels_for == "every_covariance":
        return f"clip_pixels acts on {where}, where its noise is larger"
    return f"clip_pixels acts with a covariance that knows Cov[x0 | x], on {where}"
