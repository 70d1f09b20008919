"""Flow matching's objective. Imports no torch before its loss is asked for."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from engine.objectives.base import ObjectiveBase
from engine.objectives.design import Design
from engine.process.noise_levels import LogitNormal, UniformTime
from engine.process.processes import FlowProcess
from engine.process.training_schedule import FixedSchedule, TrainingSchedule
from engine.process.weighting import UniformWeight

if TYPE_CHECKING:
    from engine.denoiser import Denoiser
    from engine.objectives.losses.batch import Noised, Terms


class FlowObjective(ObjectiveBase):
    """Flow matching: predict the velocity of a path from data
    to noise [companion text 004; Lipman et al. 2023]."""

    position: ClassVar[int] = 5

    kind: Literal["flow"] = "flow"
    path: Literal["linear", "vp"] = "linear"
    """linear: straight lines from image to noise; vp: the arc of the variance-preserving process."""
    noise_levels: Annotated[UniformTime | LogitNormal, Field(discriminator="kind")] = UniformTime()
    """How t is drawn."""
    training_schedule: TrainingSchedule = FixedSchedule()
    """Whether noise levels and weighting stay as they are or follow the loss."""

    @property
    def design(self) -> Design:
        """Its place in the design space."""
        process = FlowProcess(path=self.path)
        schedule = self.training_schedule
        return Design(process, "u", UniformWeight(), self.noise_levels, training_schedule=schedule)

    def losses(self, denoiser: "Denoiser", batch: "Noised") -> "Terms":
        """|u_hat - u|^2 of the velocity u [Lipman et al. 2023]."""
        from engine.objectives.losses.weighted_error import weighted_losses

        return weighted_losses(self.design, denoiser, batch)
