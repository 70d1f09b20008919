"""Exact denoisers: data distributions whose E[x0 | x] is known, to compare samplers and losses with."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.posterior import Posterior


@dataclass(frozen=True)
class GaussianOracle:
    """x0 ~ N(0, std^2) in every dimension, independently."""

    std: float

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        """E[x0 | x] = std^2 / (std^2 + sigma^2) * x."""
        posterior_mean: Tensor = x * (self.std**2 / (self.std**2 + sigma**2))
        return posterior_mean

    def posterior(self, x: Tensor, sigma: float) -> Posterior:
        """The same mean with Cov[x0 | x] = std^2 sigma^2 / (std^2 + sigma^2), whatever x."""
        variance = self.std**2 * sigma**2 / (self.std**2 + sigma**2)
        return Posterior(self.denoise(x, sigma), x0_variance=x.new_tensor(variance))

    def probe(self, x: Tensor, sigma: float, signs: Tensor) -> Posterior:
        """The same, which any signs give: pixels are independent."""
        return self.posterior(x, sigma)

    def ode_endpoint(self, x: Tensor, sigma: float) -> Tensor:
        """Where the probability-flow ODE started at (x, sigma) arrives at sigma = 0: x keeps its quantile."""
        endpoint: Tensor = x * self.std / (self.std**2 + sigma**2) ** 0.5
        return endpoint


@dataclass(frozen=True)
class MixtureOracle:
    """x0 ~ sum_k weights_k N(means_k, std^2): `means` [K, ...], `weights` [K] with sum 1."""

    means: Tensor
    std: float
    weights: Tensor

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        """E[x0 | x]: the components' posterior means, averaged with the posterior probability of each."""
        variance = self.std**2 + sigma**2
        mean = expected_point(x, self.means, variance, self.weights)
        return mean + self.std**2 / variance * (x - mean)

    def ode_endpoint(self, x: Tensor, sigma: float) -> Tensor:
        """Where the probability-flow ODE started at (x, sigma)
        arrives at sigma = 0, in one dimension: x [N, 1].

        x keeps its quantile there, found by bisection to the last bit.
        ValueError for data of more dimensions.
        """
        if self.means[0].numel() != 1:
            raise ValueError(f"quantiles need data of one dimension, not {tuple(self.means[0].shape)}")
        quantile = self._cdf(x, sigma)
        low = torch.full_like(x, float(self.means.min()) - 40 * self.std)
        high = torch.full_like(x, float(self.means.max()) + 40 * self.std)
        for _ in range(80):
            middle = (low + high) / 2
            below = self._cdf(middle, 0.0) < quantile
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def _cdf(self, x: Tensor, sigma: float) -> Tensor:
        z = (x - self.means.reshape(1, -1)) / (self.std**2 + sigma**2) ** 0.5
        cdf: Tensor = (torch.special.ndtr(z) * self.weights).sum(dim=1, keepdim=True)
        return cdf


@dataclass(frozen=True)
class EmpiricalOracle:
    """x0 uniform over given points [N, ...]: the exact denoiser of a finite data set."""

    points: Tensor

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        """Posterior mean: softmax over the points of -|x - point|^2 / (2 sigma^2)."""
        return expected_point(x, self.points, sigma**2, x.new_ones(()))


def expected_point(x: Tensor, points: Tensor, variance: float, weights: Tensor) -> Tensor:
    """Mean of the `points` [K, ...] from which x [N, ...] may
    have come, by noise of `variance` in every dimension.

    `weights` are the points' probabilities [K], or a constant for points alike.
    """
    flat = x.flatten(1)
    choices = points.flatten(1)
    # -|x - point|^2 / 2 without |x|^2, which all points share and which would swamp the rest at large noise.
    scores = flat @ choices.T - choices.square().sum(dim=1) / 2
    probabilities: Tensor = (weights.log() + scores / variance).softmax(dim=1)
    return (probabilities @ choices).reshape(x.shape)
