"""A point of the design space of objectives. Imports no torch."""

from dataclasses import dataclass, field
from typing import Literal

from engine.process.noise_levels import NoiseLevelsBase
from engine.process.processes import DiscreteProcess, ProcessBase, TimeScaleName
from engine.process.schedules import ScheduleName
from engine.process.targets import TargetName
from engine.process.training_schedule import FixedSchedule, TrainingScheduleBase
from engine.process.weighting import WeightingBase


@dataclass(frozen=True)
class Design:
    """A point of the design space: what is noised how, what
    is predicted, how errors weigh, which levels are shown."""

    process: ProcessBase
    target: TargetName
    weighting: WeightingBase
    noise_levels: NoiseLevelsBase
    sigma_data: float = 0.5
    pixels: Literal["mean", "sum"] = "mean"
    """How an image's squared errors become one number;
    EDM sums, which only Adam's eps and clipping can tell."""
    learned_variance: bool = False
    """The network also predicts the variance of the reverse step, with as many channels again."""
    training_schedule: TrainingScheduleBase = field(default_factory=FixedSchedule)
    """Whether training keeps to that weighting and those noise levels; measures of a trained network do."""


def chain(
    schedule: ScheduleName, num_timesteps: int, time_scale: TimeScaleName = "thousand"
) -> DiscreteProcess:
    """DDPM's process of so many timesteps."""
    return DiscreteProcess(schedule=schedule, num_timesteps=num_timesteps, time_scale=time_scale)
