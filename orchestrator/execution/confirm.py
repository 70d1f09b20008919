"""Measure the winners of a finished quick sweep again at the papers' protocol [playbook 5.5]."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from engine.config.experiment import Experiment
from engine.records.metric_facts import judging_distance
from engine.records.protocol import FULL_SAMPLES, SAMPLE_SETS
from orchestrator.errors import UnitsFailed, UsageError
from orchestrator.execution import driver
from orchestrator.execution.options import Options
from orchestrator.grid import Point, Sweep
from orchestrator.planning.cell import Cell
from orchestrator.planning.identity import canonical_json, non_default_fields
from orchestrator.planning.plan import Plan
from orchestrator.results.rows import cell_records
from orchestrator.search.current_plan import current_plan
from orchestrator.storage.store import Store

SMOKE_FACTOR = 2
"""How many times its own number of images a smoke run's winners get: it only shows the machinery."""


def run_and_confirm(
    sweep: Sweep, options: Options, count: int, check: Callable[[Sweep], None]
) -> tuple[Sweep, Path | None]:
    """Run a sweep, then, once `check` lets it pass, its `count` winners; returns that sweep and its report.

    What is finished has its winners beside units that failed:
    the first sweep's UnitsFailed is raised at the end.
    """
    failed: UnitsFailed | None = None
    try:
        driver.run_sweep(sweep, options)
    except UnitsFailed as error:
        failed = error
    winners = confirming(current_plan(sweep, options.store), options.store, count)
    check(winners)
    report = driver.run_sweep(winners, options)
    if failed:
        raise failed
    return winners, report


def confirming(plan: Plan, store: Store, count: int) -> Sweep:
    """The sweep that measures a plan's best `count` finished configurations at the full protocol.

    A configuration is a training and a sampler, over all its seeds; it is ranked by its mean distance. Every
    one gets FULL_SAMPLES images in each of SAMPLE_SETS sets, whose seeds the sweep has not used: the luck
    that made a winner of it is not drawn again. Raises UsageError when no cell is finished or the sweep is
    measured at that level already.
    """
    sweep = plan.sweep
    full = sweep.anchor.eval.num_samples * SMOKE_FACTOR if sweep.smoke else FULL_SAMPLES
    if sweep.anchor.eval.num_samples >= full:
        raise UsageError(f"--confirm: {sweep.grid.name} is measured with {full:,} images or more already")
    first = max(sweep.grid.seeds.sample) + 1
    points: list[Point] = []
    for cells in ranked(plan, store)[:count]:
        trainings = {cell.training.train_id: cell for cell in cells}
        for cell in trainings.values():
            points += [_at_full_level(cell, full, seed) for seed in range(first, first + SAMPLE_SETS)]
    name = f"{sweep.grid.name}-full"
    fixed = {field: value for field, value in sweep.grid.set.items() if field != "eval.num_samples"}
    grid = sweep.grid.model_copy(update={"name": name, "search": None, "set": fixed})
    protocol = sweep.anchor.eval.model_copy(update={"num_samples": full})
    return replace(
        sweep, grid=grid, anchor=sweep.anchor.model_copy(update={"eval": protocol}), chosen=tuple(points)
    )


def ranked(plan: Plan, store: Store) -> list[list[Cell]]:
    """The finished cells of each configuration, lowest mean distance first, without those that diverged.

    Raises UsageError when no cell is finished.
    """
    records = cell_records(plan, store)
    if not records:
        raise UsageError("--confirm: no cell is finished, so there is no winner")
    distance = judging_distance({metric for record in records.values() for metric in record.metrics})
    found: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        if cell.cell_id in records:
            found.setdefault(_configuration(cell.experiment), []).append(cell)

    def mean(cells: Sequence[Cell]) -> float:
        return fmean(records[cell.cell_id].metrics.get(distance, math.nan) for cell in cells)

    return sorted((cells for cells in found.values() if math.isfinite(mean(cells))), key=mean)


def _configuration(experiment: Experiment) -> str:
    """What two cells share that differ in nothing but their seeds."""
    train = experiment.train.model_copy(update={"seed": 0})
    protocol = experiment.eval.model_copy(update={"sample_seed": 0})
    plain = experiment.model_copy(update={"train": train, "eval": protocol})
    return canonical_json({**non_default_fields(plain), "sample": experiment.sample.canonical().form})


def _at_full_level(cell: Cell, num_samples: int, sample_seed: int) -> Point:
    protocol = cell.experiment.eval.model_copy(
        update={"num_samples": num_samples, "sample_seed": sample_seed}
    )
    experiment = cell.experiment.model_copy(update={"eval": protocol})
    return Point(cell.axes, experiment, {}, cell.off_playbook)
