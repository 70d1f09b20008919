"""EDM's stochastic sampler: raise the noise a little, then take a Heun step from there.

The loop, in the symbols of P3 (Alg. 2):

    x_0 ~ N(0, t_0^2 I)
    for i in 0 .. N - 1:
        gamma_i = min(S_churn / N, sqrt(2) - 1) if S_tmin <= t_i <= S_tmax else 0
        eps_i   ~ N(0, S_noise^2 I)
        th_i    = t_i + gamma_i t_i                                 # t-hat: the raised noise level
        xh_i    = x_i + sqrt(th_i^2 - t_i^2) eps_i                  # x-hat
        d_i     = (xh_i - D(xh_i; th_i)) / th_i
        x_{i+1} = xh_i + (t_{i+1} - th_i) d_i
        if t_{i+1} != 0:
            d'_i    = (x_{i+1} - D(x_{i+1}; t_{i+1})) / t_{i+1}
            x_{i+1} = xh_i + (t_{i+1} - th_i) (d_i / 2 + d'_i / 2)

`Churn` is the lines down to xh_i, `HeunStep` those after it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from engine.samplers.base import Canonical
from engine.samplers.euler import Euler, euler_step
from engine.samplers.heun import Heun, SecondOrder, second_order_step
from engine.samplers.scaled_ode import OdeSampler, ScaledChurn
from engine.samplers.steps import NoiseFn, Step, StepCoroutine

if TYPE_CHECKING:
    import torch

MAX_GAMMA = math.sqrt(2) - 1
"""Largest gamma: a churned step at most doubles the variance of the noise [P3 Alg. 2]."""

# The published search over the four parameters [P3 Table 5; playbook A.3]: 11 x 12 x 9 x 11 = 13,068
# configurations.
S_CHURN = tuple(float(value) for value in range(0, 101, 10))
S_TMIN = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
S_TMAX = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 80.0)
S_NOISE = tuple(round(1.0 + step / 1000, 3) for step in range(11))


def _no_limit(value: Any) -> Any:
    """`.inf` as None, which JSON can write."""
    return None if value in (math.inf, ".inf", "inf") else value


Ceiling = Annotated[Annotated[float, Field(ge=0)] | None, BeforeValidator(_no_limit)]
"""A highest noise level; None, which a grid may write as `.inf`, is no limit."""


@dataclass(frozen=True)
class Churn:
    """Raise the noise level from sigma to sigma_hat by fresh
    noise, s_noise times what theory asks for [P3 Alg. 2]."""

    sigma: float
    sigma_hat: float
    s_noise: float
    number: int
    """Number of the step, which keys its noise."""
    evaluations: ClassVar[int] = 0

    def run(self, x: "torch.Tensor", noise: NoiseFn) -> StepCoroutine:
        """x at sigma_hat."""
        yield from ()  # asks nothing
        return x + math.sqrt(self.sigma_hat**2 - self.sigma**2) * self.s_noise * noise(self.number)


class EdmStochastic(SecondOrder):
    """Heun or Euler steps with churn on the noise levels
    inside [s_tmin, s_tmax] [P3 Alg. 2; playbook 5.4, A.3]."""

    levels: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "s_churn": S_CHURN,
        "s_tmin": S_TMIN,
        "s_tmax": (*S_TMAX, math.inf),
        "s_noise": S_NOISE,
    }

    kind: Literal["edm_stochastic"] = "edm_stochastic"
    s_churn: float = Field(default=0.0, ge=0)
    """Overall amount of stochasticity; 0 is the deterministic Heun sampler."""
    s_tmin: float = Field(default=0.0, ge=0)
    """Lowest noise level at which noise is added."""
    s_tmax: Ceiling = None
    """Highest noise level at which noise is added; null or .inf, as in EDM, is no limit."""
    s_noise: float = Field(default=1.0, gt=0)
    """Standard deviation of the added noise, relative to what theory asks for."""
    solver: Literal["heun", "euler"] = "heun"
    """Steps of second or of first order; with churn, P3's Table 2 has both."""

    @property
    def evaluations(self) -> int:
        """Evaluations of x0_hat: 2N - 1, or N of Euler steps."""
        return 2 * self.num_steps - 1 if self.solver == "heun" else self.num_steps

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        interval = f" {self.interval} noise {self.s_noise:g}" if self.s_churn else ""
        method = " Euler" if self.solver == "euler" else "" if self.alpha == 1 else f" alpha {self.alpha:.3g}"
        return f"EDM {self.num_steps}{method} churn {self.s_churn:g}{interval}{self.suffix}"

    @property
    def interval(self) -> str:
        """The noise levels at which noise is added, in signs."""
        return f"[{self.s_tmin:g}, {'inf' if self.s_tmax is None else format(self.s_tmax, 'g')}]"

    @property
    def highest(self) -> float:
        """s_tmax as a number."""
        return math.inf if self.s_tmax is None else self.s_tmax

    @property
    def plain(self) -> OdeSampler:
        """The sampler without churn: Heun's or Euler's."""
        kind = Heun if self.solver == "heun" else Euler
        return kind(**{name: getattr(self, name) for name in kind.model_fields if name != "kind"})

    @property
    def deterministic(self) -> bool:
        """Whether no step is churned."""
        first, last = self.churned_steps
        return self.s_churn == 0 or first == last

    @property
    def order(self) -> int | None:
        """The solver's where no step is churned."""
        return self.plain.order if self.deterministic else None

    @property
    def family(self) -> str:
        """The solver's name in figures: Heun or Euler where no step is churned."""
        if self.deterministic:
            return self.plain.family
        method = "" if self.plain.family == "Heun" else f" {self.plain.family}"
        return f"EDM stochastic{method}"

    @property
    def gamma(self) -> float:
        """Relative increase of the noise level on a churned step."""
        return min(self.s_churn / self.num_steps, MAX_GAMMA)

    @property
    def churned_steps(self) -> tuple[int, int]:
        """Half-open range [first, last) of the steps whose noise level lies in [s_tmin, s_tmax]."""
        inside = [i for i, sigma in enumerate(self.sigmas[:-1]) if self.s_tmin <= sigma <= self.highest]
        return (inside[0], inside[-1] + 1) if inside else (0, 0)

    def canonical(self) -> Canonical:
        """Heun or Euler when nothing is churned; else what the
        four parameters do on this grid of noise levels."""
        first, last = self.churned_steps
        base = self.plain.canonical()
        name = self.solver.capitalize()
        if self.s_churn == 0:
            return Canonical(
                base.form, (*base.reasons, f"s_churn = 0 is {name}: s_tmin, s_tmax and s_noise do nothing")
            )
        if first == last:
            return Canonical(base.form, (*base.reasons, f"no noise level lies in {self.interval}: {name}"))
        reasons = [*base.reasons, f"[s_tmin, s_tmax] acts only through steps {first}..{last - 1}"]
        if self.s_churn / self.num_steps > MAX_GAMMA:
            limit = MAX_GAMMA * self.num_steps
            reasons.append(
                "gamma saturates at sqrt(2) - 1: s_churn above "
                f"{limit:.2f} is one sampler at {self.num_steps} steps"
            )
        churn = {"gamma": self.gamma, "churned_steps": [first, last], "s_noise": self.s_noise}
        return Canonical({**base.form, **churn}, tuple(reasons))

    def program(self) -> tuple[Step, ...]:
        """Steps from sigma_max to 0; a churned one starts from a raised noise level."""
        first, last = self.churned_steps
        steps: list[Step] = [self.start()]
        for number, (sigma, sigma_next) in enumerate(pairwise(self.sigmas)):
            if self.gamma > 0 and first <= number < last:
                sigma_hat = sigma * (1 + self.gamma)
                steps += [self._churn(sigma, sigma_hat, number), self._step(sigma_hat, sigma_next)]
            else:
                steps.append(self._step(sigma, sigma_next))
        return tuple(steps)

    def _churn(self, sigma: float, sigma_hat: float, number: int) -> Step:
        if self.law.is_plain:
            return Churn(sigma, sigma_hat, self.s_noise, number)
        return ScaledChurn(self.law, sigma, sigma_hat, self.s_noise, number)

    def _step(self, sigma: float, sigma_next: float) -> Step:
        if self.solver == "euler":
            return euler_step(self.law, sigma, sigma_next)
        return second_order_step(self.law, sigma, sigma_next, self.alpha)
