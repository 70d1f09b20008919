"""Hands the missing units to Ray: trainings first, then the cells whose training is ready."""

from typing import Any

import ray
from ray import tune

from engine.records import paths
from orchestrator.execution.job import Job
from orchestrator.execution.missing_units import MissingUnits
from orchestrator.execution.ray_values import RayValues
from orchestrator.execution.sample_worker import SampleTrial
from orchestrator.execution.spool_order import units_in_spool_order
from orchestrator.execution.train_worker import train_trial
from orchestrator.execution.tuner import fit
from orchestrator.execution.warm_process import load_reference_context
from orchestrator.planning.plan import Plan
from orchestrator.planning.training import Training
from orchestrator.planning.unit import Unit


def run_missing(plan: Plan, job: Job) -> None:
    """Run every missing unit: trainings, then the cells that need them. Raises Interrupted when drained."""
    anchor = plan.sweep.anchor
    at_once = job.trainings_at_once()
    # The reference statistics are made while trainings run: choosing snapshots needs them, and so do cells.
    reference = prepare_reference_context.remote(
        job.store.uri, anchor.data.name, anchor.eval.extractor, job.data_root
    )
    # Parents come first as a whole: a child reads its parent's weights from the store when it starts.
    for generation in generations(plan):
        startable = [training for training in generation if has_its_parent(training, job)]
        run_trainings([job.unit_of_training(training) for training in startable], at_once, job)
    ray.get(reference)
    # Asked of the store and not of Tune: a training may have failed, or been finished by an earlier run.
    ready = job.store.finished(training.selection_file for training in plan.trainings)
    cells = [cell for cell in plan.missing_cells if cell.training.selection_file in ready]
    run_cells(units_in_spool_order(cells, job), job)


def generations(plan: Plan) -> tuple[list[Training], list[Training]]:
    """Missing trainings that start from fresh weights, then those that start from another training."""
    missing = plan.missing_trainings
    fresh = [training for training in missing if not training.parent_id]
    children = [training for training in missing if training.parent_id]
    return fresh, children


def has_its_parent(training: Training, job: Job) -> bool:
    """Whether the training that this one starts from is finished, or it starts from none."""
    return not training.parent_id or job.store.training(training.parent_id).exists(paths.DONE)


@ray.remote(num_cpus=0)
def prepare_reference_context(storage: str, data_name: str, extractor: str, data_root: str | None) -> None:
    """Make the extractor and the reference statistics while the trainings start."""
    load_reference_context(storage, data_name, extractor, data_root)


def run_trainings(units: list[Unit], at_once: int, job: Job) -> None:
    """Train through Ray Train, one Tune trial a training. The trial asks for one byte of memory and no CPU:
    its workers ask for theirs."""
    trainable = tune.with_resources(train_trial, {"memory": 1})
    run_in_order(trainable, units, job.train_settings(), at_once, job)


def run_cells(units: list[Unit], job: Job) -> None:
    """Sample and measure with actors that keep the model loaded."""
    per_actor = {"cpu": job.resources.cpus_per_worker, "gpu": job.resources.gpus_per_worker}
    trainable = tune.with_resources(SampleTrial, per_actor)
    run_in_order(trainable, units, {}, job.slots(), job)


def run_in_order(trainable: Any, units: list[Unit], settings: RayValues, at_once: int, job: Job) -> None:
    """Let Tune run the units, at most `at_once` at a time; `settings` go to each trial beside its unit."""
    if units:
        fit(trainable, MissingUnits(units, settings, job.draining), len(units), at_once, job)
