"""DDPM's L_simple. Imports no torch before its loss is asked for."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from engine.objectives.base import ObjectiveBase
from engine.objectives.design import Design, chain
from engine.process.noise_levels import UniformTime
from engine.process.processes import TimeScaleName
from engine.process.schedules import ScheduleName
from engine.process.weighting import UniformWeight

if TYPE_CHECKING:
    from engine.denoiser import Denoiser
    from engine.objectives.losses.batch import Noised, Terms


class SimpleObjective(ObjectiveBase):
    """DDPM's L_simple: predict the noise at a uniformly drawn timestep [P1 Eq. 14; playbook 0.0, 3.1]."""

    position: ClassVar[int] = 2

    kind: Literal["simple"] = "simple"
    schedule: ScheduleName = "linear"
    """Noise schedule of the discrete process."""
    num_timesteps: int = Field(default=1000, ge=2)
    """Length T of the process."""
    time_scale: TimeScaleName = "thousand"
    """What the network is told for timestep t = 0 .. T - 1: thousand, 1000 t / T (P1's default); raw, t (P1's
    class-conditional ImageNet-64 network, ADM, DiT); shifted, t + 1 (P6 and Analytic-DPM on CIFAR-10)."""

    @property
    def design(self) -> Design:
        """Its place in the design space."""
        return Design(
            chain(self.schedule, self.num_timesteps, self.time_scale), "eps", UniformWeight(), UniformTime()
        )

    def losses(self, denoiser: "Denoiser", batch: "Noised") -> "Terms":
        """|eps_hat - eps|^2 [P1 Eq. 14]."""
        from engine.objectives.losses.weighted_error import weighted_losses

        return weighted_losses(self.design, denoiser, batch)
