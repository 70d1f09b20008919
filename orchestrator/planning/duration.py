"""How long a plan would take: seconds of its units at a known speed, and of the whole on so many workers."""

import math
from collections.abc import Iterable, Mapping, Sequence

from engine.records.plan import TRAINED_SECTIONS
from orchestrator.grid import Sweep, search_dimensions
from orchestrator.planning.cell import Cell
from orchestrator.planning.cost import model_cost, sampling_cost, selection_nfe, training_macs
from orchestrator.planning.plan import Plan
from orchestrator.planning.prefix_groups import PrefixGroup
from orchestrator.planning.speed import Speed
from orchestrator.planning.spool_batches import spooled_groups
from orchestrator.planning.training import Training

START_SECONDS = {"session": 12.0, "train": 12.0, "sample": 4.0}
"""Seconds to start Ray, and to start a training's or a sampler's processes."""


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
        # All cells of a group are of one snapshot, and so of one network: its cost is asked for once.
        macs = sampling_cost(group.cells[0].experiment).macs
        seconds = group.evaluations / len(group.cells) * macs / speed.sample
        predicted |= {cell.cell_id: seconds for cell in group.cells}
    return predicted


def plan_seconds(plan: Plan, speed: Speed, slots: int) -> float:
    """Predicted wall-clock seconds of all that is missing, on `slots` workers; of a search, its share."""
    if not plan.missing_trainings and not plan.missing_cells:
        return 0.0
    workers = plan.sweep.grid.resources.workers
    trainings = [training_seconds(unit, plan.training_state(unit), speed) for unit in plan.missing_trainings]
    cells = sum(group_predictions(plan.missing_groups, speed).values())
    at_once = max(1, min(len(trainings), slots // workers))
    training_wall = max(max(trainings, default=0.0), sum(trainings) / at_once)
    sampling_wall = START_SECONDS["sample"] + cells / max(1, slots) if plan.missing_cells else 0.0
    training_part = trained_share(plan.sweep) * training_wall
    sampling_part = search_share(plan.sweep) * sampling_wall
    return START_SECONDS["session"] + training_part + sampling_part


def is_predictable(plan: Plan) -> bool:
    """Whether the cost of what is missing is known: not where a kind does not count its layers."""
    units = {unit.train_id: unit for unit in plan.missing_trainings}
    units |= {cell.training.train_id: cell.training for cell in plan.missing_cells}
    return all(model_cost(unit.experiment).is_known for unit in units.values())


def search_share(sweep: Sweep) -> float:
    """Part of the grid that will run: all of it, or a search's trials among the choices it has.

    A coordinate search is taken to go through all axes twice: the second time finds little.
    """
    return _share(sweep, [options for _, options in search_dimensions(sweep)])


def trained_share(sweep: Sweep) -> float:
    """Part of the grid's trainings that will run: all where a search varies only what is measured."""
    dimensions = [options for _, options in search_dimensions(sweep)]
    return _share(sweep, [options for options in dimensions if any(map(_is_trained, options))])


def _is_trained(option: Mapping[str, object]) -> bool:
    return any(field.split(".")[0] in TRAINED_SECTIONS for field in option)


def _share(sweep: Sweep, dimensions: Sequence[Sequence[Mapping[str, object]]]) -> float:
    if not sweep.is_search:
        return 1.0
    sizes = [len(options) for options in dimensions]
    trials = sweep.grid.search.num_trials if sweep.grid.search else 1 + 2 * sum(size - 1 for size in sizes)
    return min(1.0, trials / math.prod(sizes))
