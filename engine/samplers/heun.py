"""Heun's method on the probability-flow ODE: EDM's deterministic sampler."""

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from engine.samplers.base import Canonical, DenoiseFn, NoiseFn, SigmaGridSampler

if TYPE_CHECKING:
    import torch


def heun_step(denoise: DenoiseFn, x: "torch.Tensor", sigma: float, sigma_next: float) -> "torch.Tensor":
    """One second-order step from `sigma` to `sigma_next`; plain Euler when it ends at 0 [P3 Alg. 1]."""
    slope = (x - denoise(x, sigma)) / sigma
    x_next = x + (sigma_next - sigma) * slope
    if sigma_next == 0:
        return x_next
    slope_next = (x_next - denoise(x_next, sigma_next)) / sigma_next
    return x + (sigma_next - sigma) * (0.5 * slope + 0.5 * slope_next)


class Heun(SigmaGridSampler):
    """Second-order deterministic sampler: two evaluations a step, one on the last [P3 Alg. 1; playbook 5.3]."""

    kind: Literal["heun"] = "heun"

    @property
    def evaluations(self) -> int:
        """Evaluations of x0_hat: 2N - 1."""
        return 2 * self.num_steps - 1

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        return f"Heun {self.num_steps}{self.suffix}"

    def canonical(self) -> Canonical:
        """Noise levels and the order of the method; a single step ends at 0, so it is Euler's."""
        grid, reasons = self.grid_form()
        method = "heun"
        if self.num_steps == 1:
            method, reasons = "euler", (*reasons, "one Heun step to sigma = 0 is one Euler step")
        return self.guided(Canonical({"method": method, **grid}, reasons))

    def sample(self, denoise: DenoiseFn, latents: "torch.Tensor", noise: NoiseFn) -> "torch.Tensor":
        """Integrate from sigma_max to 0; `noise` is never asked for."""
        sigmas = self.sigmas
        x = latents * sigmas[0]
        for sigma, sigma_next in pairwise(sigmas):
            x = heun_step(denoise, x, sigma, sigma_next)
        return x
