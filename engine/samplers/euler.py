"""Euler's method on the probability-flow ODE."""

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from engine.samplers.base import Canonical, DenoiseFn, NoiseFn, SigmaGridSampler

if TYPE_CHECKING:
    import torch


class Euler(SigmaGridSampler):
    """First-order deterministic sampler: one evaluation a step [P3 Eq. 4 with s(t) = 1, sigma(t) = t]."""

    kind: Literal["euler"] = "euler"

    @property
    def evaluations(self) -> int:
        """Evaluations of x0_hat: N."""
        return self.num_steps

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        return f"Euler {self.num_steps}{self.suffix}"

    def canonical(self) -> Canonical:
        """Noise levels and the order of the method."""
        grid, reasons = self.grid_form()
        return self.guided(Canonical({"method": "euler", **grid}, reasons))

    def sample(self, denoise: DenoiseFn, latents: "torch.Tensor", noise: NoiseFn) -> "torch.Tensor":
        """Integrate dx/dsigma = (x - D(x, sigma)) / sigma from sigma_max to 0."""
        sigmas = self.sigmas
        x = latents * sigmas[0]
        for sigma, sigma_next in pairwise(sigmas):
            slope = (x - denoise(x, sigma)) / sigma
            x = x + (sigma_next - sigma) * slope
        return x
