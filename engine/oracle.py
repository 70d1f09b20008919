"""Exact denoisers: data distributions whose E[x0 | x] is known, to compare samplers and losses with."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GaussianOracle:
    """x0 ~ N(0, std^2) in every dimension, independently."""

    std: float

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        """E[x0 | x] = std^2 / (std^2 + sigma^2) * x."""
        posterior_mean: Tensor = x * (self.std**2 / (self.std**2 + sigma**2))
        return posterior_mean

    def ode_endpoint(self, x: Tensor, sigma: float) -> Tensor:
        """Where the probability-flow ODE started at (x, sigma) arrives at sigma = 0: x keeps its quantile."""
        endpoint: Tensor = x * self.std / (self.std**2 + sigma**2) ** 0.5
        return endpoint


@dataclass(frozen=True)
class EmpiricalOracle:
    """x0 uniform over given points [N, ...]: the exact denoiser of a finite data set."""

    points: Tensor

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        """Posterior mean: softmax over the points of -|x - point|^2 / (2 sigma^2)."""
        flat, points = x.flatten(1), self.points.flatten(1)
        logits: Tensor = -torch.cdist(flat, points).square() / (2 * sigma**2)
        return (logits.softmax(dim=1) @ points).reshape(x.shape)
