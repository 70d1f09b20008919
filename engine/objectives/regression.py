"""Any corner of the design space. Imports no torch before its loss is asked for."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from engine.objectives.base import ObjectiveBase
from engine.objectives.design import Design
from engine.process.noise_levels import NoiseLevels as AnyNoiseLevels
from engine.process.noise_levels import UniformTime
from engine.process.processes import DiscreteProcess, Process
from engine.process.targets import TargetName
from engine.process.training_schedule import FixedSchedule, TrainingSchedule
from engine.process.weighting import UniformWeight, Weighting

if TYPE_CHECKING:
    from engine.denoiser import Denoiser
    from engine.objectives.losses.batch import Noised, Terms


class RegressionObjective(ObjectiveBase):
    """Any process with any target, weighting and noise levels [companion text 002, sections 2 and 5-8]."""

    position: ClassVar[int] = 6

    kind: Literal["regression"] = "regression"
    process: Process = DiscreteProcess()
    """How images are noised, and what the network is told of the noise level."""
    target: TargetName = "v"
    """What the network predicts."""
    weighting: Weighting = UniformWeight()
    """Weight of the error of x0_hat; `uniform` is 1 on the target."""
    noise_levels: AnyNoiseLevels = UniformTime()
    """Which noise levels training shows."""
    sigma_data: float = Field(default=0.5, gt=0)
    """Standard deviation of the data, used by target F."""
    pixels: Literal["mean", "sum"] = "mean"
    """How an image's squared errors become one number: their mean as P1 and k-diffusion, their sum as
    EDM's code has it in all its losses, VP's and VE's included. Adam's eps and clipping can tell."""
    training_schedule: TrainingSchedule = FixedSchedule()
    """Whether noise levels and weighting stay as they are or follow the loss, over a continuous process."""

    @model_validator(mode="after")
    def _target_is_defined(self) -> "RegressionObjective":
        if self.target in ("eps", "score") and getattr(self.process, "zero_terminal_snr", False):
            raise ValueError(
                f"target {self.target} says nothing about the image at zero terminal SNR; predict v, x0 or F"
            )
        if self.noise_levels.importance is not None and not self.process.discrete:
            raise ValueError(
                f"noise_levels {self.noise_levels.kind} keeps a "
                "history for each timestep of a discrete process"
            )
        if self.training_schedule.loss_gap is not None and self.process.discrete:
            steered = f"training_schedule {self.training_schedule.kind}"
            raise ValueError(f"{steered} draws from a continuous range of noise levels, not timesteps")
        return self

    @property
    def design(self) -> Design:
        """The point itself."""
        return Design(
            self.process,
            self.target,
            self.weighting,
            self.noise_levels,
            self.sigma_data,
            pixels=self.pixels,
            training_schedule=self.training_schedule,
        )

    def losses(self, denoiser: "Denoiser", batch: "Noised") -> "Terms":
        """weight(sigma) * |x0_hat - x0|^2 [002 sections 2 and 7]."""
        from engine.objectives.losses.weighted_error import weighted_losses

        return weighted_losses(self.design, denoiser, batch)
