"""The training objectives: named corners of one design space, and the space itself. Imports no torch."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, model_validator

from engine.frozen import Frozen
from engine.process.noise_levels import LogitNormal, LogNormal, LossSecondMoment, NoiseLevelsBase, UniformTime
from engine.process.noise_levels import NoiseLevels as AnyNoiseLevels
from engine.process.processes import DiscreteProcess, EdmProcess, FlowProcess, Process, ProcessBase
from engine.process.schedules import ScheduleName
from engine.process.targets import TargetName
from engine.process.training_schedule import FixedSchedule, LossGapSchedule, TrainingSchedule
from engine.process.weighting import EdmWeight, UniformWeight, Weighting, WeightingBase


@dataclass(frozen=True)
class Design:
    """A point of the design space: what is noised how, what is predicted, how errors weigh, which levels are
    shown."""

    process: ProcessBase
    target: TargetName
    weighting: WeightingBase
    noise_levels: NoiseLevelsBase
    sigma_data: float = 0.5
    pixels: Literal["mean", "sum"] = "mean"
    """How an image's squared errors become one number; EDM sums, which only Adam's eps and clipping can
    tell."""
    learned_variance: bool = False
    """The network also predicts the variance of the reverse step, with as many channels again."""
    training_schedule: FixedSchedule | LossGapSchedule = field(default_factory=FixedSchedule)
    """Whether training keeps to that weighting and those noise levels; measures of a trained network do."""


class EdmObjective(Frozen):
    """EDM: log-normal noise levels, its weighting and preconditioning as one group [P3 Table 1; playbook 2.4,
    3.4]."""

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


class SimpleObjective(Frozen):
    """DDPM's L_simple: predict the noise at a uniformly drawn timestep [P1 Eq. 14; playbook 0.0, 3.1]."""

    kind: Literal["simple"] = "simple"
    schedule: ScheduleName = "linear"
    """Noise schedule of the discrete process."""
    num_timesteps: int = Field(default=1000, ge=2)
    """Length T of the process."""

    @property
    def design(self) -> Design:
        """Its place in the design space."""
        return Design(_chain(self), "eps", UniformWeight(), UniformTime())


class HybridObjective(Frozen):
    """iDDPM's L_hybrid = L_simple + vlb_weight L_vlb, which also learns the variance [P1 Eq. 15-16; playbook
    3.2].

    The bound's gradient reaches the variance alone: the mean is held fixed in it.
    """

    kind: Literal["hybrid"] = "hybrid"
    schedule: ScheduleName = "cosine"
    """Noise schedule of the discrete process."""
    num_timesteps: int = Field(default=1000, ge=2)
    """Length T of the process."""
    vlb_weight: float = Field(default=0.001, gt=0)
    """Weight of L_vlb, the sum of the bound's terms over all timesteps (P1's lambda)."""

    @property
    def design(self) -> Design:
        """Its place in the design space; the bound comes on top."""
        return Design(_chain(self), "eps", UniformWeight(), UniformTime(), learned_variance=True)


class VlbObjective(Frozen):
    """iDDPM's L_vlb: the variational bound itself, mean and variance learned together [P1 Eq. 4; playbook
    3.3]."""

    kind: Literal["vlb"] = "vlb"
    schedule: ScheduleName = "cosine"
    """Noise schedule of the discrete process."""
    num_timesteps: int = Field(default=1000, ge=2)
    """Length T of the process."""
    noise_levels: Annotated[UniformTime | LossSecondMoment, Field(discriminator="kind")] = LossSecondMoment()
    """How timesteps are drawn; P1 needs importance sampling, because the bound's terms differ so much in
    size."""

    @property
    def design(self) -> Design:
        """Its place in the design space; the bound takes the place of the weighted error."""
        return Design(_chain(self), "eps", UniformWeight(), self.noise_levels, learned_variance=True)


class FlowObjective(Frozen):
    """Flow matching: predict the velocity of a path from data to noise [companion text 004; Lipman et al.
    2023]."""

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
        process, schedule = FlowProcess(path=self.path), self.training_schedule
        return Design(process, "u", UniformWeight(), self.noise_levels, training_schedule=schedule)


class RegressionObjective(Frozen):
    """Any process with any target, weighting and noise levels [companion text 002, sections 2 and 5-8]."""

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
    training_schedule: TrainingSchedule = FixedSchedule()
    """Whether noise levels and weighting stay as they are or follow the loss, over a continuous process."""

    @model_validator(mode="after")
    def _target_is_defined(self) -> "RegressionObjective":
        if self.target in ("eps", "score") and getattr(self.process, "zero_terminal_snr", False):
            raise ValueError(
                f"target {self.target} says nothing about the image at zero terminal SNR; predict v, x0 or F"
            )
        if isinstance(self.noise_levels, LossSecondMoment) and not isinstance(self.process, DiscreteProcess):
            raise ValueError(
                "noise_levels loss_second_moment keeps a history for each timestep of a discrete process"
            )
        if isinstance(self.training_schedule, LossGapSchedule) and isinstance(self.process, DiscreteProcess):
            raise ValueError(
                "training_schedule loss_gap draws from a continuous range of noise levels, not timesteps"
            )
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
            training_schedule=self.training_schedule,
        )


class OcmObjective(Frozen):
    """OCM: a head for the diagonal posterior covariance on a frozen network [P6; playbook 3.6].

    Needs `start`: the finished training whose network it completes. Only the head is trained.
    """

    kind: Literal["ocm"] = "ocm"
    head: Literal["simple", "complex"] = "simple"
    """simple: norm and a convolution; complex: a residual block before them."""
    schedule: ScheduleName = "linear"
    """Chain whose timesteps the head is trained on."""
    num_timesteps: int = Field(default=1000, ge=2)
    """Length T of the chain."""

    @property
    def design(self) -> Design:
        """Which noise levels the head is shown; how the network predicts is the start's affair."""
        return Design(_chain(self), "eps", UniformWeight(), UniformTime())


Objective = Annotated[
    EdmObjective
    | SimpleObjective
    | HybridObjective
    | VlbObjective
    | FlowObjective
    | RegressionObjective
    | OcmObjective,
    Field(discriminator="kind"),
]
"""Any objective, told apart by its `kind`."""


def _chain(objective: SimpleObjective | HybridObjective | VlbObjective | OcmObjective) -> DiscreteProcess:
    return DiscreteProcess(schedule=objective.schedule, num_timesteps=objective.num_timesteps)
