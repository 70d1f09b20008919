"""EDM's objective. Imports no torch before its loss is asked for."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from engine.objectives.base import ObjectiveBase
from engine.objectives.design import Design
from engine.process.noise_levels import LogNormal
from engine.process.processes import EdmProcess
from engine.process.training_schedule import FixedSchedule, TrainingSchedule
from engine.process.weighting import EdmWeight

if TYPE_CHECKING:
    from engine.denoiser import Denoiser
    from engine.objectives.losses.batch import Noised, Terms


class EdmObjective(ObjectiveBase):
    """EDM: log-normal noise levels, its weighting and
    preconditioning as one group [P3 Table 1; playbook 2.4, 3.4]."""

    position: ClassVar[int] = 1

    kind: Literal["edm"] = "edm"
    sigma_data: float = Field(default=0.5, gt=0)
    """Standard deviation of the data that the preconditioning assumes."""
    p_mean: float = -1.2
    """Mean of ln(sigma) during training."""
    p_std: float = Field(default=1.2, gt=0)
    """Standard deviation of ln(sigma) during training."""
    training_schedule: TrainingSchedule = FixedSchedule()
    """Whether noise levels and weighting stay as they are or follow the loss."""

    @property
    def design(self) -> Design:
        """Its place in the design space."""
        return Design(
            EdmProcess(),
            "F",
            EdmWeight(sigma_data=self.sigma_data),
            LogNormal(mean=self.p_mean, std=self.p_std),
            self.sigma_data,
            pixels="sum",
            training_schedule=self.training_schedule,
        )

    def losses(self, denoiser: "Denoiser", batch: "Noised") -> "Terms":
        """weight(sigma) * |x0_hat - x0|^2 [P3 Eq. 8]."""
        from engine.objectives.losses.weighted_error import weighted_losses

        return weighted_losses(self.design, denoiser, batch)
