"""Every point of a grid: varied fields, panel, seeds and linked values, and what must fit together."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product

from engine.config.experiment import Experiment, config_conflicts
from engine.config.linked import LINKED_RULES
from orchestrator.errors import GridError, Problem
from orchestrator.grid.building import building_fault
from orchestrator.grid.fault_places import problems_of_point
from orchestrator.grid.fields import ABSENT, value_of
from orchestrator.grid.file import Overrides
from orchestrator.grid.levels import off_playbook_values
from orchestrator.grid.override import InvalidFields, changed
from orchestrator.grid.points import BadGrid, Dimension, dimensions, enumerate_options, matches
from orchestrator.grid.recipe import conflict_fault
from orchestrator.grid.sweep import Point, Sweep
from orchestrator.grid.yaml_source import Fault

MAX_SHOWN = 50
"""Problems reported of one expansion; a wrong axis would repeat itself in every point."""


def expand(sweep: Sweep) -> tuple[Point, ...]:
    """Every point of the grid, in the order of the file; the panel and then the seeds vary fastest.

    Raises GridError when values do not fit together, the grid is too large, or a part of it has no effect.
    """
    if sweep.chosen is not None:
        return sweep.chosen
    return tuple(_effective(point) for point in _expanded(sweep))


def _effective(point: Point) -> Point:
    """The point with the sampler that is really used:
    within the noise levels its network was shown [playbook 5.3]."""
    held = point.experiment.held_to_trained_levels()
    return point if held is point.experiment else replace(point, experiment=held)


def _expanded(sweep: Sweep) -> tuple[Point, ...]:
    """The points as they are written."""
    points: list[Point] = []
    problems: dict[Problem, None] = {}
    try:
        for option in enumerate_options(sweep.grid, sweep.anchor, partial(changed, sweep.anchor)):
            try:
                points.extend(_points(sweep, option))
            except InvalidFields as error:
                problems |= dict.fromkeys(problems_of_point(sweep, error))
            if len(problems) >= MAX_SHOWN:
                break
        if not problems:
            kept = tuple(_without_excluded(points, sweep))
            return (*kept, *_starts(kept, sweep)) if sweep.grid.measure_start else kept
    except InvalidFields as error:
        problems |= dict.fromkeys(problems_of_point(sweep, error))
    except BadGrid as error:
        problems[sweep.document.problem(error.fault)] = None
    raise GridError(problems)


def search_dimensions(sweep: Sweep) -> list[Dimension]:
    """What a search chooses: a name and its options, each a set of dotted fields to change."""
    return dimensions(sweep.grid)


def points_for(sweep: Sweep, overrides: Overrides) -> tuple[Point, ...]:
    """The points of one choice of the varied fields: every sampler of the panel with every pair of seeds.

    Raises GridError when the values do not fit together.
    """
    try:
        return tuple(_effective(point) for point in _points(sweep, overrides))
    except InvalidFields as error:
        raise GridError(problems_of_point(sweep, error)) from None


def _points(sweep: Sweep, overrides: Overrides) -> Iterator[Point]:
    """The points of one choice of the varied fields. Raises InvalidFields where values do not fit.

    The panel's sampler takes the recipe's place after the links, which never depend on it.
    """
    grid = sweep.grid
    for (written, sampler), train, sample in product(sweep.samplers, grid.seeds.train, grid.seeds.sample):
        point = changed(sweep.anchor, {**overrides, "train.seed": train, "eval.sample_seed": sample})
        linked = _linked(sweep, point, overrides)
        if linked:
            point = changed(point, linked)
        if sampler:
            point = point.model_copy(update={"sample": sampler})
        given = {**grid.set, **overrides, **written}
        _refuse_misfits(point, given)
        yield Point(_axes(sweep, point), point, linked, off_playbook_values(given, point))


def _refuse_misfits(point: Experiment, given: Overrides) -> None:
    """InvalidFields when sections are at odds, or when there is no such network for the data set's images."""
    conflicts = [conflict_fault(conflict, given) for conflict in config_conflicts(point)]
    if conflicts:
        raise InvalidFields(conflicts, given)
    unbuildable = building_fault(point, given)
    if unbuildable:
        raise InvalidFields([unbuildable], given)


def _axes(sweep: Sweep, experiment: Experiment) -> Overrides:
    """The varied fields and their values; a field that this kind of section lacks is left out."""
    values = {field: value_of(experiment, field) for field in sweep.swept}
    return {field: value for field, value in values.items() if value is not ABSENT}


def _linked(sweep: Sweep, point: Experiment, overrides: Overrides) -> dict[str, float]:
    """Fields that follow others, and their values. InvalidFields where a rule does not know a kind."""
    values = {}
    found = []
    for field, rule in sweep.grid.linked.items():
        try:
            values[field] = LINKED_RULES[rule](sweep.anchor, point)
        except ValueError as error:
            found.append(Fault(tuple(field.split(".")), str(error)))
    if found:
        raise InvalidFields(found, overrides)
    return values


def _starts(points: Iterable[Point], sweep: Sweep) -> Iterator[Point]:
    """The trainings that points start from, each once with every sampler that suits it.

    Raises BadGrid when a point starts from no other.
    """
    seen: set[Experiment] = set()
    for point in points:
        parent = point.experiment.parent
        if parent is None:
            raise BadGrid(Fault(("measure_start",), "the recipe starts from no other training"))
        start = parent.model_copy(update={"sample": point.experiment.sample, "eval": point.experiment.eval})
        if start in seen or config_conflicts(start):
            continue
        seen.add(start)
        axes = _axes(sweep, start)
        if start.objective.kind != point.experiment.objective.kind:
            axes["objective.kind"] = start.objective.kind
        yield Point(axes, start, {}, ())


def _without_excluded(points: list[Point], sweep: Sweep) -> Iterator[Point]:
    """The points that match no `exclude` entry. Raises BadGrid for an idle entry and if none is left."""
    dropped: set[int] = set()
    for index, condition in enumerate(sweep.grid.exclude):
        matching = {number for number, point in enumerate(points) if matches(condition, point.experiment)}
        if not matching:
            raise BadGrid(Fault(("exclude", index), "matches no point of the grid"))
        dropped |= matching
    if len(dropped) == len(points):
        raise BadGrid(Fault(("exclude",), "leaves no point of the grid", about_key=True))
    return (point for number, point in enumerate(points) if number not in dropped)
