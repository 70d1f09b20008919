"""P3's ODE with any sigma(t) and s(t), and its steps of first and second order: EDM's ablation_sampler.

In the symbols of P3 (Eq. 4, Alg. 1 and Table 1), D being the denoiser:

    dx/dt = (sigma'(t) / sigma(t) + s'(t) / s(t)) x - sigma'(t) s(t) / sigma(t) D(x / s(t); sigma(t))

    noise schedule   linear: sigma = t;  ve: sigma = sqrt(t);  vp: sigma = sqrt(exp(beta_d t^2 / 2 + beta_min t) - 1)
    scaling          none: s = 1;        vp: s = 1 / sqrt(1 + sigma^2)

One step from t to t + h, with alpha = 1 for Heun's method, 1/2 for the midpoint, 2/3 for Ralston's:

    d  = dx/dt at t
    x' = x + alpha h d                      # d' = dx/dt there
    x  = x + h ((1 - 1 / (2 alpha)) d + 1 / (2 alpha) d')       # x + h d on the last step, and for Euler's method

At sigma = t and s = 1 the steps of `engine.samplers.euler` and `.heun` are these, and are the ones taken.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from engine.samplers.sigma_grid import VP_BETA_D, VP_BETA_MIN, vp_betas
from engine.samplers.sigma_walk import SigmaGridSampler
from engine.samplers.steps import DenoiseRequest, NoiseFn, Scale, Step, StepCoroutine

if TYPE_CHECKING:
    import torch

NoiseScheduleName = Literal["linear", "vp", "ve"]
"""sigma(t) [P3 Table 1, Schedule]."""

ScalingName = Literal["none", "vp"]
"""s(t) [P3 Table 1, Scaling]."""


@dataclass(frozen=True)
class TimeLaw:
    """sigma(t) and s(t), and their derivatives."""

    noise_schedule: NoiseScheduleName = "linear"
    scaling: ScalingName = "none"
    beta_d: float = VP_BETA_D
    beta_min: float = VP_BETA_MIN
    """Of noise schedule vp alone."""

    @property
    def is_plain(self) -> bool:
        """Whether sigma = t and s = 1."""
        return self.noise_schedule == "linear" and self.scaling == "none"

    def time(self, sigma: float) -> float:
        """t at a noise level; 0 at 0, where beta_min may be negative and sigma(t) reach 0 before."""
        if self.noise_schedule == "linear" or sigma == 0:
            return sigma
        if self.noise_schedule == "ve":
            return sigma**2
        root = math.sqrt(self.beta_min**2 + 2 * self.beta_d * math.log1p(sigma**2))
        return (root - self.beta_min) / self.beta_d

    def sigma(self, time: float) -> float:
        """Noise level at a time."""
        if self.noise_schedule == "linear":
            return time
        if self.noise_schedule == "ve":
            return math.sqrt(time)
        return math.sqrt(math.expm1(self.beta_d / 2 * time**2 + self.beta_min * time))

    def sigma_rate(self, time: float) -> float:
        """d sigma / dt."""
        if self.noise_schedule == "linear":
            return 1.0
        if self.noise_schedule == "ve":
            return 0.5 / math.sqrt(time)
        sigma = self.sigma(time)
        return 0.5 * (self.beta_min + self.beta_d * time) * (sigma + 1 / sigma)

    def scale(self, time: float) -> float:
        """s at a time."""
        return 1.0 if self.scaling == "none" else 1 / math.sqrt(1 + self.sigma(time) ** 2)

    def scale_rate(self, time: float) -> float:
        """ds / dt = -sigma sigma' s^3."""
        if self.scaling == "none":
            return 0.0
        return -self.sigma(time) * self.sigma_rate(time) * self.scale(time) ** 3

    def slope(self, x: "torch.Tensor", time: float) -> StepCoroutine:
        """dx/dt at a time above 0 [P3 Eq. 4]."""
        sigma = self.sigma(time)
        scale = self.scale(time)
        rate = self.sigma_rate(time)
        posterior = yield DenoiseRequest(x / scale, sigma)
        return (rate / sigma + self.scale_rate(time) / scale) * x - rate * scale / sigma * posterior.x0_hat


@dataclass(frozen=True)
class OdeStep:
    """One step of first order, or of second order with `alpha` [P3 Alg. 1]."""

    law: TimeLaw
    sigma: float
    sigma_next: float
    alpha: float | None
    """Where in the step the second slope is taken; None is Euler's step."""

    @property
    def evaluations(self) -> int:
        """One for each slope."""
        return 1 if self.alpha is None else 2

    def run(self, x: "torch.Tensor", noise: NoiseFn) -> StepCoroutine:
        """s x at sigma_next."""
        time = self.law.time(self.sigma)
        span = self.law.time(self.sigma_next) - time
        here = yield from self.law.slope(x, time)
        if self.alpha is None:
            return x + span * here
        there = yield from self.law.slope(x + self.alpha * span * here, time + self.alpha * span)
        share = 1 / (2 * self.alpha)
        return x + span * ((1 - share) * here + share * there)


@dataclass(frozen=True)
class ScaledChurn:
    """Raise the noise level of s x from sigma to sigma_hat by fresh noise [P3 Alg. 2, EDM's
    ablation_sampler]."""

    law: TimeLaw
    sigma: float
    sigma_hat: float
    s_noise: float
    number: int
    """Number of the step, which keys its noise."""
    evaluations: ClassVar[int] = 0

    def run(self, x: "torch.Tensor", noise: NoiseFn) -> StepCoroutine:
        """s x at sigma_hat."""
        yield from ()  # asks nothing
        before, after = (self.law.scale(self.law.time(sigma)) for sigma in (self.sigma, self.sigma_hat))
        added = math.sqrt(self.sigma_hat**2 - self.sigma**2) * self.s_noise * noise(self.number)
        return after / before * x + after * added


class OdeSampler(SigmaGridSampler):
    """A walk down noise levels along P3's ODE, in the time and scale of one of its columns [P3 Table 1]."""

    noise_schedule: NoiseScheduleName = "linear"
    """sigma(t): linear is EDM's, t itself; vp and ve are
    Song's, in which equal noise levels are other steps."""
    scaling: ScalingName = "none"
    """s(t): none is EDM's, 1; vp is Song's, 1 / sqrt(1 + sigma^2)."""

    @property
    def has_vp_times(self) -> bool:
        """Also where sigma(t) is that of vp, whatever the grid."""
        return super().has_vp_times or self.noise_schedule == "vp"

    @property
    def law(self) -> TimeLaw:
        """sigma(t) and s(t); those of vp go through the ends of the noise
        levels at times 1 and epsilon_s [EDM's ablation_sampler]."""
        if self.noise_schedule != "vp":
            return TimeLaw(self.noise_schedule, self.scaling)
        return TimeLaw("vp", self.scaling, *vp_betas(self.walked_levels, self.epsilon_s))

    @property
    def suffix(self) -> str:
        """What a label says of the ODE, the grid and the guidance: nothing where they are EDM's and plain."""
        schedule = "" if self.noise_schedule == "linear" else f" {self.noise_schedule} schedule"
        scaling = "" if self.scaling == "none" else f" {self.scaling} scaling"
        return schedule + scaling + super().suffix

    @property
    def column(self) -> str:
        """The ODE in the names of solvers: nothing where it is EDM's."""
        if self.law.is_plain:
            return ""
        return f" ({self.noise_schedule}, {self.scaling})"

    def law_form(self) -> dict[str, Any]:
        """Canonical form of sigma(t) and s(t): nothing where they are EDM's."""
        if self.law.is_plain:
            return {}
        betas = {"vp_betas": [self.law.beta_d, self.law.beta_min]} if self.noise_schedule == "vp" else {}
        return {"noise_schedule": self.noise_schedule, "scaling": self.scaling, **betas}

    def start(self) -> Scale:
        """From unit latents to s x at the highest noise level."""
        first = self.sigmas[0]
        return Scale(first if self.law.is_plain else first * self.law.scale(self.law.time(first)))


def steps_between(law: TimeLaw, sigma: float, sigma_next: float, alpha: float | None) -> Step:
    """The step from one noise level to the next: Euler's where it ends at 0."""
    return OdeStep(law, sigma, sigma_next, alpha if sigma_next > 0 else None)
