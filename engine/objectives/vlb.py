"""iDDPM's L_vlb. Imports no torch before its loss is asked for."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from engine.objectives.base import ObjectiveBase, warmup_words
from engine.objectives.design import Design, chain
from engine.process.noise_levels import LossSecondMoment, UniformTime
from engine.process.processes import TimeScaleName
from engine.process.schedules import ScheduleName
from engine.process.weighting import UniformWeight

if TYPE_CHECKING:
    from engine.denoiser import Denoiser
    from engine.objectives.losses.batch import Noised, Terms


class VlbObjective(ObjectiveBase):
    """iDDPM's L_vlb: the variational bound itself, mean and
    variance learned together [P1 Eq. 4; playbook 3.3]."""

    position: ClassVar[int] = 4
    is_bound: ClassVar[bool] = True

    kind: Literal["vlb"] = "vlb"
    schedule: ScheduleName = "cosine"
    """Noise schedule of the discrete process."""
    num_timesteps: int = Field(default=1000, ge=2)
    """Length T of the process."""
    time_scale: TimeScaleName = "thousand"
    """What the network is told for timestep t = 0 .. T - 1: thousand, 1000 t / T (P1's default); raw, t (P1's
    class-conditional ImageNet-64 network, ADM, DiT); shifted, t + 1 (P6 and Analytic-DPM on CIFAR-10)."""
    noise_levels: Annotated[UniformTime | LossSecondMoment, Field(discriminator="kind")] = LossSecondMoment()
    """How timesteps are drawn; P1 needs importance sampling,
    because the bound's terms differ so much in size."""
    warmup_kimg: float | None = Field(default=None, gt=0)
    """Train L_simple alone for so long before the bound, which is noisy where the mean
    is still far off [playbook 3.3]. None trains the bound from the first step."""

    @property
    def design(self) -> Design:
        """Its place in the design space; the bound takes the place of the weighted error."""
        process = chain(self.schedule, self.num_timesteps, self.time_scale)
        return Design(process, "eps", UniformWeight(), self.noise_levels, learned_variance=True)

    @property
    def beside(self) -> str:
        """The warm-up."""
        return warmup_words(self.warmup_kimg)

    def losses(self, denoiser: "Denoiser", batch: "Noised") -> "Terms":
        """L_vlb, which teaches mean and variance [P1 Eq. 4]."""
        from engine.objectives.losses.bound import vlb_losses

        return vlb_losses(self, denoiser, batch)

    @property
    def warmup_images(self) -> int:
        """As configured."""
        return round(1000 * (self.warmup_kimg or 0))

    def warmup_losses(self, denoiser: "Denoiser", batch: "Noised") -> "Terms":
        """L_simple alone."""
        from engine.objectives.losses.bound import warmup_losses

        return warmup_losses(self, denoiser, batch)
