"""Coordinate search: all values of an axis, the best kept, the next axis, until none changes [playbook A.3].

It keeps no state of its own: finished cells say where the walk has been, so a stopped search just goes on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engine.config.experiment import Experiment
from orchestrator.grid import Overrides, Point, Sweep, points_for, search_dimensions
from orchestrator.grid.fields import value_of
from orchestrator.grid.override import InvalidFields, changed
from orchestrator.grid.points import merged
from orchestrator.search.objective import mean_distance
from orchestrator.storage.store import Store

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
    """Follow the search over axes of these sizes as far as `objective_value` is known; less is better.

    The search is over when no axis has moved since the last one that did. It always ends, because each move
    lowers the objective. Of equal positions the present one stays, else the first wins.
    """
    best = start
    axis = 0
    axes_without_a_move = 0
    asked: dict[Position, None] = {start: None}  # a set that keeps the order
    while axes_without_a_move < len(sizes):
        line = [(*best[:axis], number, *best[axis + 1 :]) for number in range(sizes[axis])]
        asked |= dict.fromkeys(line)
        values = {position: objective_value(position) for position in line}
        missing = tuple(position for position, value in values.items() if value is None)
        if missing:
            return Walk(tuple(asked), missing, best)
        known = {position: value for position, value in values.items() if value is not None}
        winner = best
        for position in line:
            if known[position] < known[winner]:
                winner = position
        # The axis that has just moved is settled: asked again at once, it would stay.
        axes_without_a_move = axes_without_a_move + 1 if winner == best else 1
        best = winner
        axis = (axis + 1) % len(sizes)
    return Walk(tuple(asked), (), best)


def is_coordinate(sweep: Sweep) -> bool:
    """Whether a sweep is a coordinate search. One whose points were picked already is not."""
    return sweep.grid.enumerate == "coordinate" and sweep.chosen is None


def current_walk(sweep: Sweep, store: Store) -> Walk:
    """Where a sweep's search is, as the store's finished cells have it."""
    sizes = [len(options) for _, options in search_dimensions(sweep)]

    def objective_value(position: Position) -> float | None:
        return mean_distance(sweep, points_at(sweep, position), store)

    return walk(start_position(sweep), sizes, objective_value)


def start_position(sweep: Sweep) -> Position:
    """The recipe's own values; the first option of a dimension that lacks them.

    A value that the recipe leaves open is matched by the option that is the same sampler:
    noise levels that are not written are those that the network was shown.
    """

    def is_written(option: Overrides) -> bool:
        return all(value_of(sweep.anchor, field) == value for field, value in option.items())

    def is_same_sampler(option: Overrides) -> bool:
        if not all(field.startswith("sample.") for field in option):
            return False
        try:
            return _sampler_form(changed(sweep.anchor, option)) == _sampler_form(sweep.anchor)
        except InvalidFields:  # it fits other options of the search, not the recipe
            return False

    position: list[int] = []
    for _, options in search_dimensions(sweep):
        own = [number for number, option in enumerate(options) if is_written(option)]
        own = own or [number for number, option in enumerate(options) if is_same_sampler(option)]
        position.append(own[0] if own else 0)
    return tuple(position)


def _sampler_form(experiment: Experiment) -> Mapping[str, object]:
    """The canonical form of what is really sampled."""
    return experiment.held_to_trained_levels().sample.canonical().form


def points_at(sweep: Sweep, position: Position) -> tuple[Point, ...]:
    """The points of a position: the whole panel and all seeds."""
    dimensions = search_dimensions(sweep)
    chosen = [options[number] for number, (_, options) in zip(position, dimensions, strict=True)]
    return points_for(sweep, merged(chosen))


def asked_points(sweep: Sweep, store: Store) -> tuple[Point, ...]:
    """The points of every position that the search has asked for."""
    return _points_of(sweep, current_walk(sweep, store).asked)


def run_lines(sweep: Sweep, store: Store, run: Callable[[tuple[Point, ...]], None]) -> None:
    """Hand one axis after the other to `run`, until the search is over or an axis cannot be finished."""
    before: Walk | None = None
    now = current_walk(sweep, store)
    while now.missing and now != before:
        run(_points_of(sweep, now.missing))
        before = now
        now = current_walk(sweep, store)


def _points_of(sweep: Sweep, positions: Sequence[Position]) -> tuple[Point, ...]:
    return tuple(point for position in positions for point in points_at(sweep, position))
