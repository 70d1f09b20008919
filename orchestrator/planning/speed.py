"""How fast networks train and sample: as the storage measured it, else as assumed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.config.experiment import Experiment
from engine.records.speed import KnownSpeed, Speeds
from orchestrator.grid import Sweep
from orchestrator.planning.cell import Cell
from orchestrator.planning.cost import sampling_cost, training_macs
from orchestrator.planning.training import Training

ASSUMED_CPU_SPEED = 1.5e10
ASSUMED_GPU_SPEED = 2e13
"""Multiply-accumulates per second of one CPU core or one GPU, until this storage has measured its own."""


@dataclass(frozen=True)
class Speed:
    """Multiply-accumulates per second of one training worker group and of one sampling actor."""

    train: float
    sample: float
    measured: bool
    """Whether finished units of this storage told both, or the training's where `forwards` told the other."""
    forwards: int = 0
    """Forward passes of each network that told the sampling speed; 0 where they did not."""

    @property
    def basis(self) -> str:
        """Where the numbers come from, in words."""
        if not self.forwards:
            return (
                "measured on this storage"
                if self.measured
                else "assumed speed; measured from the first run on"
            )
        training = "measured on this storage" if self.measured else "an assumed speed"
        return f"sampling measured by {self.forwards} forwards on this machine, training {training}"


@dataclass(frozen=True)
class MeasuredTraining:
    """A finished training and what it took."""

    unit: Training
    seconds: float


@dataclass(frozen=True)
class MeasuredCell:
    """A finished cell and what it took."""

    cell: Cell
    seconds: float
    evaluations: int
    """Images times network evaluations done for it alone."""


def speed_of(sweep: Sweep, speeds: Speeds) -> Speed:
    """The speed that was measured for the sweep's data set and model family, else an assumed one."""
    known = speeds.get(speed_key(sweep.anchor), KnownSpeed())
    resources = sweep.grid.resources
    assumed = ASSUMED_CPU_SPEED * resources.cpus_per_worker
    if resources.gpus_per_worker:
        assumed = ASSUMED_GPU_SPEED
    return Speed(
        train=assumed * resources.workers if known.train is None else known.train,
        sample=assumed if known.sample is None else known.sample,
        measured=known.train is not None,
        forwards=known.forwards,
    )


def with_units(
    speeds: Speeds, sweep: Sweep, trained: Sequence[MeasuredTraining], sampled: Sequence[MeasuredCell]
) -> Speeds:
    """What is known, and what newly finished units of a sweep tell besides."""
    speed = speed_of(sweep, speeds)
    train = _training_speed(trained)
    sample = _sampling_speed(sampled)
    # A first entry needs both halves: an assumed one that is written down would pass for measured.
    if not speed.measured and not (train and sample):
        return speeds
    learned = KnownSpeed(
        train=train or speed.train,
        sample=sample or speed.sample,
        forwards=0 if sample else speed.forwards,
    )
    return {**speeds, speed_key(sweep.anchor): learned}


def with_forwards(speeds: Speeds, sampling: Mapping[str, float], forwards: int) -> Speeds:
    """What is known, and sampling speeds by `speed_key` that so many passes of each network told."""
    found = dict(speeds)
    for key, speed in sampling.items():
        known = speeds.get(key, KnownSpeed())
        found[key] = known.model_copy(update={"sample": speed, "forwards": forwards})
    return found


def _training_speed(trained: Sequence[MeasuredTraining]) -> float | None:
    macs = sum(training_macs(one.unit) for one in trained)
    return macs / sum(one.seconds for one in trained) if macs else None


def _sampling_speed(sampled: Sequence[MeasuredCell]) -> float | None:
    macs = sum(one.evaluations * sampling_cost(one.cell.experiment).macs for one in sampled)
    return macs / sum(one.seconds for one in sampled) if macs else None


def speed_key(experiment: Experiment) -> str:
    """Speeds differ most by data set (resolution) and model family, so they are kept for each pair."""
    return f"{experiment.data.name}/{experiment.model.kind}"
