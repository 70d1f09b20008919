"""DDIM: few-step sampling on a variance-preserving schedule, deterministic at eta = 0."""

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from engine.process.schedules import ScheduleName, alpha_bars
from engine.samplers.base import Canonical, DenoiseFn, NoiseFn, SamplerBase

if TYPE_CHECKING:
    import torch


class Ddim(SamplerBase):
    """The generalised reverse process on a subsequence tau of the timesteps [P2 Eq. 12, 16; playbook 0.3, 5.1, A.7]."""

    kind: Literal["ddim"] = "ddim"
    eta: float = Field(default=0.0, ge=0, le=1)
    """Stochasticity: 0 is deterministic, 1 is DDPM's posterior variance."""
    tau: Literal["linear", "quadratic"] = "linear"
    """Spacing of the timesteps: floor(c i) or floor(c i^2), with c chosen so that the last one is T - 1 [P2 D.2]."""
    schedule: ScheduleName = "linear"
    """Variance-preserving schedule that is walked; any trained model can be sampled on either."""
    num_timesteps: int = Field(default=1000, ge=2)
    """Length T of the schedule."""

    @model_validator(mode="after")
    def _no_more_steps_than_timesteps(self) -> "Ddim":
        if self.num_steps > self.num_timesteps:
            raise ValueError(f"num_steps {self.num_steps} exceeds num_timesteps {self.num_timesteps}")
        return self

    @property
    def timesteps(self) -> tuple[int, ...]:
        """The subsequence tau, rising and without repeats: the quadratic rule starts with several zeros for large N."""
        if self.num_steps == 1:
            return (self.num_timesteps - 1,)
        power, last = {"linear": 1, "quadratic": 2}[self.tau], self.num_steps - 1
        return tuple(sorted({(self.num_timesteps - 1) * i**power // last**power for i in range(self.num_steps)}))

    @property
    def nfe(self) -> int:
        """Network evaluations per image: the number of distinct timesteps."""
        return len(self.timesteps)

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        return f"DDIM {self.num_steps}" + (f" eta {self.eta:g}" if self.eta else "")

    def canonical(self) -> Canonical:
        """Schedule, the timesteps really visited, and eta."""
        form: dict[str, Any] = {"method": "ddim", "schedule": self.schedule, "num_timesteps": self.num_timesteps}
        reasons = []
        if self.nfe < self.num_steps:
            reasons.append(f"tau repeats timestep 0: {self.num_steps} steps visit {self.nfe} timesteps")
        if self.num_steps <= 2:
            reasons.append("one or two steps visit the same timesteps under either tau rule")
        if self.nfe == 1 and self.eta > 0:
            reasons.append("a single step to x0 adds no noise: eta does nothing")
        eta = 0.0 if self.nfe == 1 else self.eta
        return Canonical({**form, "timesteps": list(self.timesteps), "eta": eta}, tuple(reasons))

    def sample(self, denoise: DenoiseFn, latents: "torch.Tensor", noise: NoiseFn) -> "torch.Tensor":
        """Walk tau from the noisiest timestep down; the last step lands on x0_hat. x0_hat is never clipped [P2]."""
        table = alpha_bars(self.schedule, self.num_timesteps)
        levels = [table[t] for t in reversed(self.timesteps)]
        x = latents
        for step, (alpha_bar, alpha_bar_next) in enumerate(zip(levels, [*levels[1:], 1.0], strict=True)):
            sigma = math.sqrt((1 - alpha_bar) / alpha_bar)
            x0_hat = denoise(x / math.sqrt(alpha_bar), sigma)
            eps_hat = (x - math.sqrt(alpha_bar) * x0_hat) / math.sqrt(1 - alpha_bar)
            std = self.eta * math.sqrt((1 - alpha_bar_next) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_next))
            x = math.sqrt(alpha_bar_next) * x0_hat + math.sqrt(1 - alpha_bar_next - std**2) * eps_hat
            if std > 0:
                x = x + std * noise(step)
        return x
