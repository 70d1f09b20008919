"""Coordinate search: all values of one axis, the best kept, then the next axis, until none changes [playbook
A.3].

It keeps no state of its own: finished cells say where the walk has been, so a stopped search goes on by
itself.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from engine.records.metric_facts import judging_distance
from orchestrator.grid import Point, Sweep, points_for, search_dimensions
from orchestrator.grid.fields import value_of
from orchestrator.grid.points import merged
from orchestrator.planning.plan import Cell, make_plan
from orchestrator.storage.store import FAILED, Store

Position = tuple[int, ...]
"""The number of an option in each dimension of the grid."""


@dataclass(frozen=True)
class Walk:
    """How far a coordinate search is."""

    asked: tuple[Position, ...]
    """Every position so far, each once, those under way included."""
    missing: tuple[Position, ...]
    """Positions of the present axis that are not measured yet; none when the search is over."""
    best: Position
    """The best position before the present axis."""


def walk(start: Position, sizes: Sequence[int], objective_value: Callable[[Position], float | None]) -> Walk:
    """Follow the search from `start` over axes of these sizes as far as `objective_value` is known; less is
    better.

    The search is over when no axis has moved since the last one that did. It always ends, because each move
    lowers the worth. Of equal positions the present one stays, else the first wins.
    """
    best, axis, settled = start, 0, 0
    asked: dict[Position, None] = {start: None}
    while settled < len(sizes):
        line = [(*best[:axis], number, *best[axis + 1 :]) for number in range(sizes[axis])]
        asked |= dict.fromkeys(line)
        values = {position: objective_value(position) for position in line}
        missing = tuple(position for position, value in values.items() if value is None)
        if missing:
            return Walk(tuple(asked), missing, best)
        known = {position: value for position, value in values.items() if value is not None}
        winner = min(line, key=lambda position: (known[position], position != best))
        settled = settled + 1 if winner == best else 1
        best, axis = winner, (axis + 1) % len(sizes)
    return Walk(tuple(asked), (), best)


def is_coordinate(sweep: Sweep) -> bool:
    """Whether a sweep is a coordinate search. One whose points were picked already is not."""
    return sweep.grid.enumerate == "coordinate" and sweep.chosen is None


def current_walk(sweep: Sweep, store: Store) -> Walk:
    """Where a sweep's search is, as the store's finished cells have it."""
    sizes = [len(options) for _, options in search_dimensions(sweep)]
    return walk(start_position(sweep), sizes, lambda position: objective_value(sweep, position, store))


def start_position(sweep: Sweep) -> Position:
    """The recipe's own values; the first option of a dimension that lacks them."""

    def is_anchor(option: dict[str, Any]) -> bool:
        return all(value_of(sweep.anchor, field) == value for field, value in option.items())

    dimensions = search_dimensions(sweep)
    return tuple(
        next((n for n, option in enumerate(options) if is_anchor(option)), 0) for _, options in dimensions
    )


def points_at(sweep: Sweep, position: Position) -> tuple[Point, ...]:
    """The points of a position: the whole panel and all seeds."""
    options = (
        options[number] for number, (_, options) in zip(position, search_dimensions(sweep), strict=True)
    )
    return points_for(sweep, merged(options))


def objective_value(sweep: Sweep, position: Position, store: Store) -> float | None:
    """A position's distance under the panel's first sampler, the mean over seeds; infinite where it has none.

    It has none where a cell, or a training that the cell needs, has failed, or where a distance is not
    finite. None when a cell is neither finished nor failed.
    """
    points = points_at(sweep, position)
    of_first = [point for point in points if point.experiment.sample == points[0].experiment.sample]
    cells = make_plan(sweep, of_first, store).cells
    records = [store.cell(cell.cell_id).read_json("cell.json") for cell in cells]
    measured = [record["metrics"][judging_distance(record["metrics"])] for record in records if record]
    if len(measured) == len(cells):
        return fmean(measured) if all(map(math.isfinite, measured)) else math.inf
    failed = all(record or has_failed(cell, store) for cell, record in zip(cells, records, strict=True))
    return math.inf if failed else None


def has_failed(cell: Cell, store: Store) -> bool:
    """Whether a cell, its training or the one that this starts from recorded a failure."""
    trainings = (identity for identity in (cell.training.train_id, cell.training.parent_id) if identity)
    return store.cell(cell.cell_id).exists(FAILED) or any(
        store.training(one).exists(FAILED) for one in trainings
    )


def asked_points(sweep: Sweep, store: Store) -> tuple[Point, ...]:
    """The points of every position that the search has asked for."""
    return tuple(
        point for position in current_walk(sweep, store).asked for point in points_at(sweep, position)
    )


def run_lines(sweep: Sweep, store: Store, run: Callable[[tuple[Point, ...]], None]) -> None:
    """Hand one axis after the other to `run`, until the search is over or an axis cannot be finished."""
    before: Walk | None = None
    while (now := current_walk(sweep, store)).missing and now != before:
        run(tuple(point for position in now.missing for point in points_at(sweep, position)))
        before = now
