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
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from engine.samplers.base import Canonical
from engine.samplers.heun import Heun, heun_or_euler
from engine.samplers.sigma_walk import SigmaGridSampler
from engine.samplers.steps import NoiseFn, Scale, Step, StepCoroutine

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


@dataclass(frozen=True)
class Churn:
    """Raise the noise level from sigma to sigma_hat by fresh noise, s_noise times what theory asks for [P3
    Alg. 2]."""

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


class EdmStochastic(SigmaGridSampler):
    """Heun steps with churn on the noise levels inside [s_tmin, s_tmax] [P3 Alg. 2; playbook 5.4, A.3]."""

    levels: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "s_churn": S_CHURN,
        "s_tmin": S_TMIN,
        "s_tmax": S_TMAX,
        "s_noise": S_NOISE,
    }

    kind: Literal["edm_stochastic"] = "edm_stochastic"
    s_churn: float = Field(default=0.0, ge=0)
    """Overall amount of stochasticity; 0 is the deterministic Heun sampler."""
    s_tmin: float = Field(default=0.0, ge=0)
    """Lowest noise level at which noise is added."""
    s_tmax: float = Field(default=80.0, ge=0)
    """Highest noise level at which noise is added."""
    s_noise: float = Field(default=1.0, gt=0)
    """Standard deviation of the added noise, relative to what theory asks for."""

    @property
    def evaluations(self) -> int:
        """Evaluations of x0_hat: 2N - 1."""
        return 2 * self.num_steps - 1

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        interval = f" [{self.s_tmin:g}, {self.s_tmax:g}] noise {self.s_noise:g}" if self.s_churn else ""
        return f"EDM {self.num_steps} churn {self.s_churn:g}{interval}{self.suffix}"

    @property
    def deterministic(self) -> bool:
        """Whether no step is churned."""
        first, last = self.churned_steps
        return self.s_churn == 0 or first == last

    @property
    def order(self) -> int | None:
        """Heun's where no step is churned."""
        return 2 if self.deterministic else None

    @property
    def family(self) -> str:
        """The solver's name in figures: Heun where no step is churned."""
        return "Heun" if self.deterministic else "EDM stochastic"

    @property
    def gamma(self) -> float:
        """Relative increase of the noise level on a churned step."""
        return min(self.s_churn / self.num_steps, MAX_GAMMA)

    @property
    def churned_steps(self) -> tuple[int, int]:
        """Half-open range [first, last) of the steps whose noise level lies in [s_tmin, s_tmax]."""
        inside = [i for i, sigma in enumerate(self.sigmas[:-1]) if self.s_tmin <= sigma <= self.s_tmax]
        return (inside[0], inside[-1] + 1) if inside else (0, 0)

    def canonical(self) -> Canonical:
        """Heun when nothing is churned; else what the four parameters do on this grid of noise levels."""
        first, last = self.churned_steps
        base = Heun(**{name: getattr(self, name) for name in SigmaGridSampler.model_fields}).canonical()
        if self.s_churn == 0:
            return Canonical(
                base.form, (*base.reasons, "s_churn = 0 is Heun: s_tmin, s_tmax and s_noise do nothing")
            )
        if first == last:
            return Canonical(
                base.form, (*base.reasons, f"no noise level lies in [{self.s_tmin:g}, {self.s_tmax:g}]: Heun")
            )
        reasons = [*base.reasons, f"[s_tmin, s_tmax] acts only through steps {first}..{last - 1}"]
        if self.s_churn / self.num_steps > MAX_GAMMA:
            limit = MAX_GAMMA * self.num_steps
            reasons.append(
                f"gamma saturates at sqrt(2) - 1: s_churn above {limit:.2f} is one sampler at {self.num_steps} steps"
            )
        churn = {"gamma": self.gamma, "churned_steps": [first, last], "s_noise": self.s_noise}
        return Canonical({**base.form, **churn}, tuple(reasons))

    def program(self) -> tuple[Step, ...]:
        """Heun steps from sigma_max to 0; a churned one starts from a raised noise level."""
        first, last = self.churned_steps
        steps: list[Step] = [Scale(self.sigmas[0])]
        for number, (sigma, sigma_next) in enumerate(pairwise(self.sigmas)):
            if self.gamma > 0 and first <= number < last:
                sigma_hat = sigma * (1 + self.gamma)
                steps += [Churn(sigma, sigma_hat, self.s_noise, number), heun_or_euler(sigma_hat, sigma_next)]
            else:
                steps.append(heun_or_euler(sigma, sigma_next))
        return tuple(steps)
