"""Euler's method on the probability-flow ODE.

The loop, in the symbols of P3 (Eq. 3 with s(t) = 1, sigma(t) = t; the first half of Alg. 1):

    x_0 ~ N(0, t_0^2 I)
    for i in 0 .. N - 1:
        d_i     = (x_i - D(x_i; t_i)) / t_i         # dx/dt
        x_{i+1} = x_i + (t_{i+1} - t_i) d_i         # t_N = 0
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.samplers.base import Canonical
from engine.samplers.scaled_ode import OdeSampler, TimeLaw, steps_between
from engine.samplers.steps import DenoiseRequest, NoiseFn, Step, StepCoroutine

if TYPE_CHECKING:
    import torch


def slope(x: "torch.Tensor", sigma: float) -> StepCoroutine:
    """dx/dsigma = (x - D(x, sigma)) / sigma of the probability-flow ODE [P3 Eq. 4]."""
    posterior = yield DenoiseRequest(x, sigma)
    return (x - posterior.x0_hat) / sigma


@dataclass(frozen=True)
class EulerStep:
    """One first-order step of dx/dsigma = (x - D(x, sigma)) / sigma."""

    sigma: float
    sigma_next: float
    evaluations: ClassVar[int] = 1

    def run(self, x: "torch.Tensor", noise: NoiseFn) -> StepCoroutine:
        """x at sigma_next."""
        here = yield from slope(x, self.sigma)
        return x + (self.sigma_next - self.sigma) * here


def euler_step(law: TimeLaw, sigma: float, sigma_next: float) -> Step:
    """Euler's step in the time and scale of `law`."""
    return EulerStep(sigma, sigma_next) if law.is_plain else steps_between(law, sigma, sigma_next, None)


class Euler(OdeSampler):
    """First-order deterministic sampler: one evaluation a step [P3 Eq. 4]."""

    kind: Literal["euler"] = "euler"

    @property
    def order(self) -> int | None:
        """1 where sigma(t) = t and s = 1; elsewhere the last
        step, to t = 0, leaves noise whatever their number."""
        return 1 if self.law.is_plain else None

    @property
    def family(self) -> str:
        """The solver's name in figures."""
        return f"Euler{self.column}"

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
        return self.guided(Canonical({"method": "euler", **grid, **self.law_form()}, reasons))

    def program(self) -> tuple[Step, ...]:
        """Euler steps from sigma_max to 0."""
        steps: list[Step] = [self.start()]
        for sigma, sigma_next in pairwise(self.sigmas):
            steps.append(euler_step(self.law, sigma, sigma_next))
        return tuple(steps)
