"""Heun's method on the probability-flow ODE: EDM's deterministic sampler.

The loop, in the symbols of P3 (Alg. 1 with s(t) = 1, sigma(t) = t):

    x_0 ~ N(0, t_0^2 I)
    for i in 0 .. N - 1:
        d_i     = (x_i - D(x_i; t_i)) / t_i                         # dx/dt at t_i
        x_{i+1} = x_i + (t_{i+1} - t_i) d_i                         # Euler's step
        if t_{i+1} != 0:
            d'_i    = (x_{i+1} - D(x_{i+1}; t_{i+1})) / t_{i+1}     # dx/dt at t_{i+1}
            x_{i+1} = x_i + (t_{i+1} - t_i) (d_i / 2 + d'_i / 2)    # trapezoidal rule
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from engine.samplers.base import Canonical
from engine.samplers.euler import EulerStep, slope
from engine.samplers.scaled_ode import OdeSampler, TimeLaw, steps_between
from engine.samplers.steps import NoiseFn, Step, StepCoroutine

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class HeunStep:
    """One second-order step: Euler's, then the mean of its two slopes [P3 Alg. 1]. sigma_next is above 0."""

    sigma: float
    sigma_next: float
    evaluations: ClassVar[int] = 2

    def run(self, x: "torch.Tensor", noise: NoiseFn) -> StepCoroutine:
        """x at sigma_next."""
        span = self.sigma_next - self.sigma
        here = yield from slope(x, self.sigma)
        there = yield from slope(x + span * here, self.sigma_next)
        return x + span * (0.5 * here + 0.5 * there)


def second_order_step(law: TimeLaw, sigma: float, sigma_next: float, alpha: float) -> Step:
    """The second-order step with `alpha` in the time and scale of `law`;
    Euler's when it ends at 0, where there is no second slope [P3 Alg. 1]."""
    if not law.is_plain or (alpha != 1 and sigma_next > 0):
        return steps_between(law, sigma, sigma_next, alpha)
    return HeunStep(sigma, sigma_next) if sigma_next > 0 else EulerStep(sigma, sigma_next)


class SecondOrder(OdeSampler):
    """What samplers with second-order steps have."""

    alpha: float = Field(default=1.0, gt=0, le=1)
    """Where in a step the second slope is taken:
    1 is Heun's method, 0.5 the midpoint, 2/3 Ralston's [P3 D.2]."""

    @property
    def method(self) -> str:
        """Name of the second-order method."""
        return "Heun" if self.alpha == 1 else f"2nd order alpha {self.alpha:.3g}"


class Heun(SecondOrder):
    """Second-order deterministic sampler: two evaluations
    a step, one on the last [P3 Alg. 1; playbook 5.3]."""

    kind: Literal["heun"] = "heun"

    @property
    def order(self) -> int | None:
        """2 where sigma(t) = t and s = 1; elsewhere the last
        step, to t = 0, leaves noise whatever their number."""
        return 2 if self.law.is_plain else None

    @property
    def family(self) -> str:
        """The solver's name in figures."""
        return f"{self.method}{self.column}"

    @property
    def evaluations(self) -> int:
        """Evaluations of x0_hat: 2N - 1."""
        return 2 * self.num_steps - 1

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        alpha = "" if self.alpha == 1 else f" alpha {self.alpha:.3g}"
        return f"Heun {self.num_steps}{alpha}{self.suffix}"

    def canonical(self) -> Canonical:
        """Noise levels and the order of the method; a single step ends at 0, so it is Euler's."""
        grid, reasons = self.grid_form()
        method = "heun"
        if self.num_steps == 1:
            method = "euler"
            reasons = (*reasons, "one Heun step to sigma = 0 is one Euler step")
        alpha = {"alpha": self.alpha} if self.alpha != 1 and self.num_steps > 1 else {}
        return self.guided(Canonical({"method": method, **grid, **self.law_form(), **alpha}, reasons))

    def program(self) -> tuple[Step, ...]:
        """Heun steps from sigma_max to 0, the last one Euler's."""
        steps: list[Step] = [self.start()]
        for sigma, sigma_next in pairwise(self.sigmas):
            steps.append(second_order_step(self.law, sigma, sigma_next, self.alpha))
        return tuple(steps)
