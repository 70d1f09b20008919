"""The Tuner: hands the missing units to Ray, trainings first, then cells."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial

from orchestrator.console.progress import Progress
from orchestrator.errors import Interrupted, UsageError
from orchestrator.execution.ray_session import SCRATCH_IN_STORE
from orchestrator.execution.sample_worker import SampleTrial
from orchestrator.execution.train_worker import train_trial
from orchestrator.execution.unit import Unit, has_spooled_images, load_reference_context
from orchestrator.execution.unit_queue import Draining, MissingUnits
from orchestrator.grid import Resources
from orchestrator.planning.plan import Cell, Plan, Training
from orchestrator.planning.prefix_groups import PrefixGroup
from orchestrator.planning.spool_batches import SpoolBatch, spool_batches
from orchestrator.storage.store import DONE, Store


@dataclass(frozen=True)
class Job:
    """Where and with what the units of one sweep run."""

    store: Store
    resources: Resources
    data_root: str | None
    progress: Progress
    draining: Draining

    @property
    def scratch(self) -> str:
        """Ray's own files: never read again, removed when the sweep ends."""
        return f"{self.store.uri}/{SCRATCH_IN_STORE}"

    def trainings_at_once(self) -> int:
        """How many trainings the cluster holds; Tune must not start more, their workers would wait for each
        other.

        Raises UsageError when it does not hold even one, which would wait for ever.
        """
        slots, workers = self.slots(), self.resources.workers
        if slots < workers:
            room = f"the cluster has room for {slots} workers"
            raise UsageError(
                f"one training asks for {workers} workers but {room}; change `resources` in the grid"
            )
        return slots // workers

    def slots(self) -> int:
        """How many workers, or sampling actors, the cluster holds."""
        available = ray.cluster_resources()
        slots = int(available.get("CPU", 1) // self.resources.cpus_per_worker)
        if self.resources.gpus_per_worker:
            slots = min(slots, int(available.get("GPU", 0) // self.resources.gpus_per_worker))
        return slots


def run_missing(plan: Plan, job: Job) -> None:
    """Run every missing unit: trainings, then the cells whose training is ready. Raises Interrupted when
    drained."""
    experiment, trainings_at_once = plan.sweep.anchor, job.trainings_at_once()
    judge = prepare_reference_context.remote(
        job.store.uri, experiment.data.name, experiment.eval.extractor, job.data_root
    )
    threads = max(1, int(job.resources.cpus_per_worker))
    for generation in generations(plan):
        startable = [
            one for one in generation if not one.parent_id or job.store.training(one.parent_id).exists(DONE)
        ]
        units = [Unit.of_training(unit, job.store.uri, job.data_root, threads) for unit in startable]
        run_trainings(units, trainings_at_once, job)
    ray.get(judge)
    ready = job.store.finished(unit.selection_file for unit in plan.trainings)
    cells = [cell for cell in plan.missing_cells if cell.training.selection_file in ready]
    measured = {cell.cell_id: Unit.of_cell(cell, job.store.uri, job.data_root, threads) for cell in cells}
    run_cells(
        [
            unit
            for wave in spool_batches_left(cells, job.store)
            for unit in spool_batch_units(wave, measured, job)
        ],
        job,
    )


def spool_batches_left(cells: list[Cell], store: Store) -> list[SpoolBatch]:
    """Waves of cells; those that have images from an interrupted run come first, so that no others join
    them."""
    begun = {cell.cell_id for cell in cells if has_spooled_images(store.cell(cell.cell_id))}
    first, rest = ([cell for cell in cells if (cell.cell_id in begun) == has] for has in (True, False))
    return [*spool_batches(first), *spool_batches(rest)]


def spool_batch_units(wave: SpoolBatch, units: dict[str, Unit], job: Job) -> list[Unit]:
    """A wave's passes, then its cells: those that wait for the passes first."""
    groups = sorted(wave, key=lambda group: not group.shares)
    passes = [unit for group in groups if group.shares for unit in shared_run_units(group, units, job)]
    return [*passes, *(units[cell.cell_id] for group in groups for cell in group.cells)]


def shared_run_units(group: PrefixGroup, units: dict[str, Unit], job: Job) -> list[Unit]:
    """Units that draw many cells' images in one pass, in blocks for all workers; a lost block costs its
    images only."""
    like = units[group.cells[0].cell_id]
    blocks = [Unit.of_pass(cells, batches, like) for cells, batches in group.passes(job.slots())]
    job.progress.expect_passes([cell.cell_id for cell in group.cells], [unit.unit_id for unit in blocks])
    return blocks


def generations(plan: Plan) -> tuple[list[Training], list[Training]]:
    """Missing trainings that start from fresh weights, then those that start from another training."""
    missing = plan.missing_trainings
    return [unit for unit in missing if not unit.parent_id], [unit for unit in missing if unit.parent_id]


@ray.remote(num_cpus=0)
def prepare_reference_context(storage: str, data_name: str, extractor: str, data_root: str | None) -> None:
    """Make the extractor and the reference statistics while the trainings start."""
    load_reference_context(storage, data_name, extractor, data_root)


def run_trainings(units: list[Unit], at_once: int, job: Job) -> None:
    """Train through Ray Train, one Tune trial a training. The trial asks for one byte of memory and no
    CPU."""
    resources = {"resources": job.resources.model_dump(), "scratch": f"{job.scratch}/train"}
    trainable = tune.with_resources(train_trial, {"memory": 1})
    tune_units(trainable, units, resources, at_once, job)


def run_cells(units: list[Unit], job: Job) -> None:
    """Draw or measure with actors that keep the model loaded."""
    per_actor = {"cpu": job.resources.cpus_per_worker, "gpu": job.resources.gpus_per_worker}
    trainable = tune.with_resources(SampleTrial, per_actor)
    tune_units(trainable, units, {}, job.slots(), job)


def tune_units(trainable: Any, units: list[Unit], settings: dict[str, Any], at_once: int, job: Job) -> None:
    """Let Tune run the units, at most `at_once` at a time."""
    if not units:
        return
    fit(trainable, MissingUnits(units, settings, job.draining), len(units), at_once, job)


def fit(trainable: Any, search: tune.search.Searcher, num_trials: int, at_once: int, job: Job) -> None:
    """Run a Tuner to its end or until draining. Raises Interrupted when the user asked to stop."""
    tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=search,
            num_samples=num_trials,
            max_concurrent_trials=at_once,
            reuse_actors=True,
            trial_name_creator=short_name,
            trial_dirname_creator=short_name,
        ),
        run_config=tune.RunConfig(
            storage_path=f"{job.scratch}/tune",
            verbose=0,
            callbacks=[UnitCallback(job.progress)],
            stop=DrainStopper(job.draining),
            failure_config=tune.FailureConfig(max_failures=2),
        ),
    ).fit()
    if job.draining.requested:
        raise Interrupted("stopped as asked; run the same command to go on")


def short_name(trial: Trial) -> str:
    """A trial's folder: its id alone, because a unit's configuration would make a name too long for a file
    system."""
    return str(trial.trial_id)


class DrainStopper(tune.Stopper):
    """Stops a trial at its next report, which follows a checkpoint, once draining was asked for."""

    def __init__(self, draining: Draining) -> None:
        self.draining = draining

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether this trial ends now."""
        return self.draining.requested

    def stop_all(self) -> bool:
        """Never at once: running units reach their next report."""
        return False


class UnitCallback(tune.Callback):
    """Tells the progress view what Tune's trials do."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks for a restore that never happens here."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A unit begins, or begins again after its process died."""
        self.progress.unit_started(Unit.from_json(trial.config["unit"]))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """A unit reports."""
        self.progress.unit_reported(Unit.from_json(trial.config["unit"]), result)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A unit ends by itself."""
        self.progress.unit_ended(Unit.from_json(trial.config["unit"]))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A unit's process died for good."""
        self.progress.unit_died(Unit.from_json(trial.config["unit"]))


@contextmanager
def drain_on_interrupt(draining: Draining, say: Callable[[str], None]) -> Iterator[None]:
    """First Ctrl-C (or SIGTERM) drains, the second stops at once."""

    def handler(signum: int, frame: Any) -> None:
        if draining.requested:
            raise KeyboardInterrupt
        draining.requested = True
        say("stopping: running units go on to their next checkpoint; Ctrl-C again to stop at once")

    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
