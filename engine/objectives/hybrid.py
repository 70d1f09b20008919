"""iDDPM's L_hybrid. Imports no torch before its loss is asked for."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from engine.objectives.base import ObjectiveBase, warmup_words
from engine.objectives.design import Design, chain
from engine.process.noise_levels import UniformTime
from engine.process.processes import TimeScaleName
from engine.process.schedules import ScheduleName
from engine.process.weighting import UniformWeight

if TYPE_CHECKING:
    from engine.denoiser import Denoiser
    from engine.objectives.losses.batch import Noised, Terms


class HybridObjective(ObjectiveBase):
    """iDDPM's L_hybrid = L_simple + vlb_weight L_vlb, which
    also learns the variance [P1 Eq. 15-16; playbook 3.2].

    The bound's gradient reaches the variance alone: the mean is held fixed in it.
    """

    position: ClassVar[int] = 3

    kind: Literal["hybrid"] = "hybrid"
    schedule: ScheduleName = "cosine"
    """Noise schedule of the discrete process."""
    num_timesteps: int = Field(default=1000, ge=2)
    """Length T of the process."""
    time_scale: TimeScaleName = "thousand"
    """What the network is told for timestep t = 0 .. T - 1: thousand, 1000 t / T (P1's default); raw, t (P1's
    class-conditional ImageNet-64 network, ADM, DiT); shifted, t + 1 (P6 and Analytic-DPM on CIFAR-10)."""
    vlb_weight: float = Field(default=0.001, gt=0)
    """Weight of L_vlb, the sum of the bound's terms over all timesteps (P1's lambda)."""
    strata: Literal[1, 4] = 1
    """Draw timesteps from so many equal parts of the chain, an equal share of every batch from each:
    1 as P1, 4 as DyDiT's code."""
    warmup_kimg: float | None = Field(default=None, gt=0)
    """Train L_simple alone for so long before the bound, which is noisy where the mean
    is still far off [playbook 3.3]. None trains the bound from the first step."""

    @property
    def design(self) -> Design:
        """Its place in the design space; the bound comes on top."""
        levels = UniformTime(strata=self.strata)
        process = chain(self.schedule, self.num_timesteps, self.time_scale)
        return Design(process, "eps", UniformWeight(), levels, learned_variance=True)

    @property
    def beside(self) -> str:
        """The bound, which teaches the variance alone, and the warm-up."""
        bound = f" (L_simple, shown, + {self.vlb_weight:g} L_vlb for the variance)"
        return bound + warmup_words(self.warmup_kimg)

    def losses(self, denoiser: "Denoiser", batch: "Noised") -> "Terms":
        """L_simple + vlb_weight L_vlb, of which the latter teaches the variance alone [P1 Eq. 16]."""
        from engine.objectives.losses.bound import hybrid_losses

        return hybrid_losses(self, denoiser, batch)

    @property
    def warmup_images(self) -> int:
        """As configured."""
        return round(1000 * (self.warmup_kimg or 0))

    def warmup_losses(self, denoiser: "Denoiser", batch: "Noised") -> "Terms":
        """L_simple alone."""
        from engine.objectives.losses.bound import warmup_losses

        return warmup_losses(self, denoiser, batch)
