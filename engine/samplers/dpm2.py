"""DPM-2: DPM-Solver-2 as k-diffusion's `sample_dpm_2`, the midpoint method with its middle in ln sigma.

The loop, in the symbols of P3 (sigma(t) = t):

    x_0 ~ N(0, t_0^2 I)
    for i in 0 .. N - 1:
        d_i     = (x_i - D(x_i; t_i)) / t_i
        if t_{i+1} == 0:
            x_{i+1} = x_i + (t_{i+1} - t_i) d_i
        else:
            m       = sqrt(t_i t_{i+1})
            x_m     = x_i + (m - t_i) d_i
            d_m     = (x_m - D(x_m; m)) / m
            x_{i+1} = x_i + (t_{i+1} - t_i) d_m

It is Algorithm 1 of Lu et al. 2022a with r_1 = 1/2, in the coordinates x0 + sigma eps.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.samplers.base import Canonical
from engine.samplers.euler import EulerStep, slope
from engine.samplers.sigma_walk import SigmaGridSampler
from engine.samplers.steps import NoiseFn, Scale, Step, StepCoroutine

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Dpm2Step:
    """One second-order step: along the slope at the geometric mean of its noise levels, which are above 0."""

    sigma: float
    sigma_next: float
    evaluations: ClassVar[int] = 2

    def run(self, x: "torch.Tensor", noise: NoiseFn) -> StepCoroutine:
        """x at sigma_next."""
        middle = math.sqrt(self.sigma * self.sigma_next)
        here = yield from slope(x, self.sigma)
        there = yield from slope(x + (middle - self.sigma) * here, middle)
        return x + (self.sigma_next - self.sigma) * there


class Dpm2(SigmaGridSampler):
    """Second-order single-step sampler: two evaluations a step, one on the last [k-diffusion]."""

    kind: Literal["dpm2"] = "dpm2"

    @property
    def evaluations(self) -> int:
        """Evaluations of x0_hat: 2N - 1."""
        return 2 * self.num_steps - 1

    @property
    def order(self) -> int:
        """2."""
        return 2

    @property
    def family(self) -> str:
        """The solver's name in figures."""
        return "DPM-2"

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        return f"DPM-2 {self.num_steps}{self.suffix}"

    def canonical(self) -> Canonical:
        """Noise levels and the method; a single step ends at 0, so it is Euler's."""
        grid, reasons = self.grid_form()
        method = "dpm2"
        if self.num_steps == 1:
            method = "euler"
            reasons = (*reasons, "one step of DPM-2 to sigma = 0 is one Euler step")
        return self.guided(Canonical({"method": method, **grid}, reasons))

    def program(self) -> tuple[Step, ...]:
        """Steps from sigma_max to 0, the last one Euler's."""
        steps: list[Step] = [Scale(self.sigmas[0])]
        for sigma, sigma_next in pairwise(self.sigmas):
            step = Dpm2Step(sigma, sigma_next) if sigma_next > 0 else EulerStep(sigma, sigma_next)
            steps.append(step)
        return tuple(steps)
