"""How fast networks train and sample: as this storage measured it, else as assumed."""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.config.experiment import Experiment
from engine.records import paths
from orchestrator.grid import Sweep
from orchestrator.planning.cell import Cell
from orchestrator.planning.cost import sampling_cost, training_macs
from orchestrator.planning.plan import Plan
from orchestrator.planning.training import Training
from orchestrator.storage.store import DONE, Store

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


def speed_of(sweep: Sweep, store: Store) -> Speed:
    """The speed this storage measured for the sweep's data set and model family, else an assumed one."""
    resources = sweep.grid.resources
    known = (store.root.read_json(paths.SPEED) or {}).get(speed_key(sweep.anchor), {})
    unit = ASSUMED_GPU_SPEED if resources.gpus_per_worker else ASSUMED_CPU_SPEED * resources.cpus_per_worker
    train = known.get("train", unit * resources.workers)
    sample = known.get("sample", unit)
    return Speed(train, sample, measured="train" in known, forwards=known.get("forwards", 0))


def remember_speed(before: Plan, after: Plan, store: Store) -> None:
    """Keep the speed of the units that were finished between two plans, for the next plan and its ETA."""
    speed = speed_of(before.sweep, store)
    new = after.finished - before.finished
    trained = [unit for unit in after.trainings if unit.done_file in new]
    sampled = [cell for cell in after.cells if cell.done_file in new]
    train = _training_speed(trained, store)
    sample = _sampling_speed(sampled, store)
    if not speed.measured and not (train and sample):
        return
    known = store.root.read_json(paths.SPEED) or {}
    entry = {"train": train or speed.train, "sample": sample or speed.sample}
    entry |= {"forwards": speed.forwards} if speed.forwards and not sample else {}
    store.root.write_json(paths.SPEED, {**known, speed_key(before.sweep.anchor): entry})


def remember_forwards(speeds: Mapping[str, float], forwards: int, store: Store) -> None:
    """Keep sampling speeds, by `speed_key`, that so many forward passes of each network told."""
    known = store.root.read_json(paths.SPEED) or {}
    entries = {
        key: {**known.get(key, {}), "sample": speed, "forwards": forwards} for key, speed in speeds.items()
    }
    store.root.write_json(paths.SPEED, {**known, **entries})


def _training_speed(trained: list[Training], store: Store) -> float | None:
    seconds = sum(store.training(unit.train_id).read_json(DONE)["seconds"] for unit in trained)
    macs = sum(map(training_macs, trained))
    return macs / seconds if macs else None


def _sampling_speed(sampled: list[Cell], store: Store) -> float | None:
    records = [store.cell(cell.cell_id).read_json(DONE) for cell in sampled]
    pairs = zip(sampled, records, strict=True)
    macs = sum(record["evaluations"] * sampling_cost(cell.experiment).macs for cell, record in pairs)
    return macs / sum(record["seconds"] for record in records) if macs else None


def speed_key(experiment: Experiment) -> str:
    """Speeds differ most by data set (resolution) and model family, so they are kept for each pair."""
    return f"{experiment.data.name}/{experiment.model.kind}"
