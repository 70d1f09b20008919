"""What a plan costs: multiply-accumulates of every unit, and seconds at a measured or assumed speed."""

import glob
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from engine.backbones.cost import Cost, Layer, sum_of
from engine.backbones.flops import forward_cost, forward_layers
from engine.config.experiment import Experiment
from engine.config.network_shape import net_shape
from engine.records.plan import TRAINED_SECTIONS
from orchestrator.errors import UsageError
from orchestrator.grid import Resources, Sweep, search_dimensions
from orchestrator.planning.cell import Cell
from orchestrator.planning.plan import Plan
from orchestrator.planning.prefix_groups import PrefixGroup
from orchestrator.planning.spool_batches import spooled_groups
from orchestrator.planning.training import Training
from orchestrator.storage.store import DONE, Store

SPEED_FILE = "speed.json"

# A training step costs about three forward passes: forward, and two matrix products for each in the backward
# pass.
FORWARDS_PER_TRAINING_IMAGE = 3

# Assumed until this storage has measured its own: multiply-accumulates per second of one CPU core or one GPU.
ASSUMED_CPU_SPEED = 1.5e10
ASSUMED_GPU_SPEED = 2e13

# Seconds to start Ray, and to start a training's or a sampler's processes.
START_SECONDS = {"session": 12.0, "train": 12.0, "sample": 4.0}


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


def model_cost(experiment: Experiment) -> Cost:
    """Parameters and multiply-accumulates of one forward pass of one image; a DyDiT's when it skips nothing.

    Raises UsageError when there is no such network for the data set's images.
    """
    with buildable(experiment):
        return _model_cost(experiment)


def sampling_cost(experiment: Experiment) -> Cost:
    """The same while sampling: a DyDiT then keeps to its budget. Raises UsageError as `model_cost` does."""
    if not experiment.model.executes_part:
        return model_cost(experiment)
    with buildable(experiment):
        return known(experiment.model.budget_cost(net_shape(experiment)))


def network_layers(experiment: Experiment) -> tuple[Layer, ...]:
    """The layers of an experiment's network in order, OCM's head last. Raises UsageError as `model_cost`
    does."""
    objective, parent = experiment.objective, experiment.parent
    with buildable(experiment):
        if objective.is_head and parent is not None:
            added = objective.added_layers(parent.model, net_shape(experiment))
            return (*network_layers(parent), *added)
        return forward_layers(experiment.model, net_shape(experiment)) or ()


def known(cost: Cost | None) -> Cost:
    """A cost; where a network's kind does not count its layers, nothing."""
    return cost or Cost(0, 0)


@contextmanager
def buildable(experiment: Experiment) -> Iterator[None]:
    """Turns what a network's layout refuses into a message for the user."""
    try:
        yield
    except ValueError as error:
        data = experiment.data.name
        raise UsageError(f"the network asked for cannot be built on {data}: {error}") from None


def _model_cost(experiment: Experiment) -> Cost:
    shape, objective, parent = net_shape(experiment), experiment.objective, experiment.parent
    if objective.is_head and parent is not None:
        added = objective.added_layers(parent.model, shape)
        return sum_of((_model_cost(parent), *(layer.cost for layer in added)))
    return known(forward_cost(experiment.model, shape))


def training_macs(unit: Training) -> float:
    """Cost of the training itself.

    Checkpointing goes forward once more. A DyDiT masks and does not skip, and runs twice while its warm-up
    lasts.
    """
    model, train = unit.experiment.model, unit.experiment.train
    kimg = train.total_kimg + model.extra_training_kimg(train.total_kimg)
    forwards = FORWARDS_PER_TRAINING_IMAGE + (1 if train.checkpointing else 0)
    return kimg * 1000 * forwards * model_cost(unit.experiment).macs


def selection_nfe(unit: Training) -> int:
    """Network evaluations, over all images, that choosing the snapshot takes."""
    rule = unit.experiment.eval.selection
    return len(unit.experiment.train.snapshot_steps) * rule.num_samples * rule.sampler.nfe


def training_seconds(unit: Training, state: str, speed: Speed) -> float:
    """Predicted seconds of a training unit in a given state (train, select or cached)."""
    if state == "cached":
        return 0.0
    selection = selection_nfe(unit) * sampling_cost(unit.experiment).macs / speed.sample
    training = training_macs(unit) / speed.train if state == "train" else 0.0
    return START_SECONDS["train"] + training + selection


def cell_predictions(cells: Iterable[Cell], speed: Speed) -> dict[str, float]:
    """Predicted seconds of each cell on a warm actor; cells drawn in one pass take equal parts of it."""
    return group_predictions(spooled_groups(cells), speed)


def group_predictions(groups: Iterable[PrefixGroup], speed: Speed) -> dict[str, float]:
    """The same of the cells of these groups, as they run."""
    predicted: dict[str, float] = {}
    for group in groups:
        evaluations = group.evaluations / len(group.cells)
        for cell in group.cells:
            predicted[cell.cell_id] = evaluations * sampling_cost(cell.experiment).macs / speed.sample
    return predicted


def search_share(sweep: Sweep) -> float:
    """Part of the grid that will run: all of it, or a search's trials among the choices it has.

    A coordinate search is taken to go through all axes twice: the second time finds little.
    """
    return _share(sweep, [options for _, options in search_dimensions(sweep)])


def trained_share(sweep: Sweep) -> float:
    """Part of the grid's trainings that will run: all of them where a search varies nothing but what is
    measured."""
    dimensions = [options for _, options in search_dimensions(sweep)]
    return _share(sweep, [options for options in dimensions if any(map(_is_trained, options))])


def _is_trained(option: Mapping[str, Any]) -> bool:
    return any(field.split(".")[0] in TRAINED_SECTIONS for field in option)


def _share(sweep: Sweep, dimensions: list[tuple[dict[str, Any], ...]]) -> float:
    if not sweep.is_search:
        return 1.0
    sizes = [len(options) for options in dimensions]
    trials = sweep.grid.search.num_trials if sweep.grid.search else 1 + 2 * sum(size - 1 for size in sizes)
    return min(1.0, trials / math.prod(sizes))


def plan_seconds(plan: Plan, speed: Speed, slots: int) -> float:
    """Predicted wall-clock seconds of everything missing, on `slots` workers; of a search, its share of
    that."""
    if not plan.missing_trainings and not plan.missing_cells:
        return 0.0
    workers = plan.sweep.grid.resources.workers
    trainings = [training_seconds(unit, plan.training_state(unit), speed) for unit in plan.missing_trainings]
    cells = sum(group_predictions(plan.missing_groups, speed).values())
    at_once = max(1, min(len(trainings), slots // workers))
    training_wall = max(max(trainings, default=0.0), sum(trainings) / at_once)
    sampling_wall = START_SECONDS["sample"] + cells / max(1, slots) if plan.missing_cells else 0.0
    shares = trained_share(plan.sweep), search_share(plan.sweep)
    return START_SECONDS["session"] + shares[0] * training_wall + shares[1] * sampling_wall


def speed_of(sweep: Sweep, store: Store) -> Speed:
    """The speed this storage measured for the sweep's data set and model family, else an assumed one."""
    resources = sweep.grid.resources
    known = (store.root.read_json(SPEED_FILE) or {}).get(speed_key(sweep.anchor), {})
    unit = ASSUMED_GPU_SPEED if resources.gpus_per_worker else ASSUMED_CPU_SPEED * resources.cpus_per_worker
    train, sample = known.get("train", unit * resources.workers), known.get("sample", unit)
    return Speed(train, sample, measured="train" in known, forwards=known.get("forwards", 0))


def remember_speed(before: Plan, after: Plan, store: Store) -> None:
    """Keep the speed of the units that were finished between two plans, for the next plan and its ETA."""
    speed = speed_of(before.sweep, store)
    new = after.finished - before.finished
    trained = [unit for unit in after.trainings if unit.done_file in new]
    sampled = [cell for cell in after.cells if cell.done_file in new]
    train, sample = _training_speed(trained, store), _sampling_speed(sampled, store)
    if not speed.measured and not (train and sample):
        return
    known = store.root.read_json(SPEED_FILE) or {}
    entry = {"train": train or speed.train, "sample": sample or speed.sample}
    entry |= {"forwards": speed.forwards} if speed.forwards and not sample else {}
    store.root.write_json(SPEED_FILE, {**known, speed_key(before.sweep.anchor): entry})


def remember_forwards(speeds: dict[str, float], forwards: int, store: Store) -> None:
    """Keep sampling speeds, by `speed_key`, that so many forward passes of each network told."""
    known = store.root.read_json(SPEED_FILE) or {}
    entries = {
        key: {**known.get(key, {}), "sample": speed, "forwards": forwards} for key, speed in speeds.items()
    }
    store.root.write_json(SPEED_FILE, {**known, **entries})


def _training_speed(trained: list[Training], store: Store) -> float | None:
    seconds = sum(store.training(unit.train_id).read_json(DONE)["seconds"] for unit in trained)
    return sum(map(training_macs, trained)) / seconds if trained else None


def _sampling_speed(sampled: list[Cell], store: Store) -> float | None:
    records = [store.cell(cell.cell_id).read_json(DONE) for cell in sampled]
    pairs = zip(sampled, records, strict=True)
    macs = sum(record["evaluations"] * sampling_cost(cell.experiment).macs for cell, record in pairs)
    return macs / sum(record["seconds"] for record in records) if macs else None


def speed_key(experiment: Experiment) -> str:
    """Speeds differ most by data set (resolution) and model family, so they are kept for each pair."""
    return f"{experiment.data.name}/{experiment.model.kind}"


@dataclass(frozen=True)
class Place:
    """Where a plan would run: how many workers at once, in words, and whether this machine has what they ask
    for."""

    slots: int
    words: str
    here: bool


def place_for(resources: Resources) -> Place:
    """This machine, or as many workers as one training asks for when this machine does not hold them."""
    slots, kind, lacking = int(cpu_count() / resources.cpus_per_worker), "CPU", "too few cores"
    if resources.gpus_per_worker:
        slots, kind = min(slots, int(gpu_count() / resources.gpus_per_worker)), "GPU"
        lacking = "no GPU" if gpu_count() == 0 else "too few GPUs or cores"
    if slots >= resources.workers:
        return Place(slots, f"{slots} {kind} workers here", here=True)
    return Place(
        resources.workers, f"{resources.workers} {kind} workers; this machine has {lacking}", here=False
    )


def cpu_count() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def gpu_count() -> int:
    """NVIDIA devices of this machine, without importing torch."""
    return len(glob.glob("/dev/nvidia[0-9]*"))
