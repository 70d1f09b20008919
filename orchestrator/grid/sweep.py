"""From a grid file to the experiments it stands for.

`load_sweep` reads and checks the file, `expand` gives every point; a search uses `search_dimensions` and
`points_for`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

from engine.config.experiment import Experiment, config_conflicts
from engine.config.linked import LINKED_RULES
from engine.metrics.names import distance_name
from engine.records.metric_facts import is_distance
from engine.samplers.registry import Sampler
from orchestrator.errors import GridError, Problem
from orchestrator.grid.building import building_fault
from orchestrator.grid.check import bind, grid_faults
from orchestrator.grid.entries import Role, alternatives, combinations, entries
from orchestrator.grid.fields import ABSENT, is_off_playbook, value_of
from orchestrator.grid.file import Grid, Resources
from orchestrator.grid.override import InvalidFields, changed, section_type
from orchestrator.grid.points import (
    BadGrid,
    Dimension,
    Option,
    dimensions,
    enumerate_options,
    matches,
    swept_fields,
)
from orchestrator.grid.recipe import conflict_fault, load_anchor, placed
from orchestrator.grid.yaml_source import Document, Fault, KeyPath, read_document

MAX_SHOWN = 50
"""Problems reported of one expansion; a wrong axis would repeat itself in every point."""


@dataclass(frozen=True)
class Sweep:
    """A checked grid file and its anchor: the recipe after `set` and the smoke overlay."""

    grid: Grid
    anchor: Experiment
    path: Path
    smoke: bool
    document: Document
    chosen: "tuple[Point, ...] | None" = None
    """Points that were picked from the grid's; None is the whole grid."""

    @property
    def source(self) -> str:
        """Text of the grid file."""
        return self.document.text

    @property
    def output_name(self) -> str:
        """Name of the sweep's folder and MLflow experiment; a smoke run has its own."""
        return f"{self.grid.name}-smoke" if self.smoke else self.grid.name

    @property
    def is_search(self) -> bool:
        """Whether which points run depends on what others gave."""
        return self.chosen is None and (self.grid.search is not None or self.grid.enumerate == "coordinate")

    @cached_property
    def swept(self) -> tuple[str, ...]:
        """Fields that vary, in the order of the file."""
        return swept_fields(self.grid)

    @cached_property
    def samplers(self) -> tuple[tuple[Option, Sampler | None], ...]:
        """The panel: the fields as the grid gives them and the sampler; without one, the recipe's sampler is
        kept."""
        found: list[tuple[Option, Sampler | None]] = []
        for index, entry in enumerate(self.grid.panel):
            for combination in combinations(entry, index):
                fields = {key: value for key, (_, value) in combination.items()}
                sampler = section_type("sample").validate_python(fields)
                found.append(({f"sample.{key}": value for key, value in fields.items()}, sampler))
        return tuple(found) or (({}, None),)


@dataclass(frozen=True)
class Point:
    """One point of a grid, ready to run."""

    axes: dict[str, Any]
    """The varied fields and their values here; a field this kind of section lacks is left out."""
    experiment: Experiment
    """The whole configuration, seeds and linked values included."""
    linked: dict[str, float]
    """Fields computed by a rule, and their values."""
    off_playbook: tuple[str, ...]
    """Values the grid gave that the papers do not use, such as `model.channels = 16`."""


def load_sweep(path: Path, *, smoke: bool = False) -> Sweep:
    """Read and check a grid file. Raises GridError with every problem found.

    `smoke` shrinks the recipe to minutes and asks for one CPU core instead of the grid's resources.
    """
    document = read_document(path)
    grid, found = bind(document.data)
    reported = {fault.path for fault in found}
    found += [fault for fault in grid_faults(grid) if fault.path not in reported]
    problems = [document.problem(fault) for fault in found]
    anchor: Experiment | None = None
    try:
        if ("recipe",) not in reported:
            anchor = load_anchor(grid, document, path.parent, smoke)
    except GridError as error:
        problems += error.problems
    if grid.search and anchor and anchor.start:
        message = (
            "a search does not train what its points start from, and the recipe has a `start`; use axes alone"
        )
        problems.append(document.problem(Fault(("search",), message, about_key=True)))
    if anchor and (fault := _metric_fault(grid, anchor, smoke)):
        problems.append(document.problem(fault))
    if problems or anchor is None:
        raise GridError(problems)
    if smoke:
        grid = _small(grid, anchor)
    return Sweep(grid, anchor, path, smoke, document)


def _metric_fault(grid: Grid, anchor: Experiment, smoke: bool) -> Fault | None:
    """What is wrong with a search for a distance that cells will not have. A smoke run searches for its
    own."""
    own = distance_name(anchor.eval.extractor, anchor.eval.num_samples)
    if smoke or not grid.search or not is_distance(grid.search.metric) or grid.search.metric == own:
        return None
    images = f"{anchor.eval.num_samples:,} images under extractor {anchor.eval.extractor}"
    return Fault(("search", "metric"), f"{grid.search.metric} is not measured: {images} give {own}", (own,))


def _small(grid: Grid, anchor: Experiment) -> Grid:
    """The grid on one CPU core, its search for the distance that a smoke run measures."""
    changes: dict[str, Any] = {"resources": Resources()}
    if grid.search and is_distance(grid.search.metric):
        own = distance_name(anchor.eval.extractor, anchor.eval.num_samples)
        changes["search"] = grid.search.model_copy(update={"metric": own})
    return grid.model_copy(update=changes)


def expand(sweep: Sweep) -> tuple[Point, ...]:
    """Every point of the grid, in the order of the file; the panel and then the seeds vary fastest.

    Raises GridError when values do not fit together, when the grid is too large, or when part of it has no
    effect.
    """
    if sweep.chosen is not None:
        return sweep.chosen
    points: list[Point] = []
    problems: dict[Problem, None] = {}
    try:
        for option in enumerate_options(sweep.grid, sweep.anchor, partial(changed, sweep.anchor)):
            try:
                points.extend(_points(sweep, option))
            except InvalidFields as error:
                problems |= dict.fromkeys(_problems(sweep, error))
            if len(problems) >= MAX_SHOWN:
                break
        if not problems:
            kept = tuple(_without_excluded(points, sweep))
            return (*kept, *_starts(kept, sweep)) if sweep.grid.measure_start else kept
    except InvalidFields as error:
        problems |= dict.fromkeys(_problems(sweep, error))
    except BadGrid as error:
        problems[sweep.document.problem(error.fault)] = None
    raise GridError(problems)


def search_dimensions(sweep: Sweep) -> list[Dimension]:
    """What a search chooses: a name and its options, each a set of dotted fields to change."""
    return dimensions(sweep.grid)


def points_for(sweep: Sweep, overrides: Mapping[str, Any]) -> tuple[Point, ...]:
    """The points of one choice of the varied fields: every sampler of the panel with every pair of seeds.

    Raises GridError when the values do not fit together.
    """
    try:
        return tuple(_points(sweep, overrides))
    except InvalidFields as error:
        raise GridError(_problems(sweep, error)) from None


def _points(sweep: Sweep, overrides: Mapping[str, Any]) -> Iterator[Point]:
    grid = sweep.grid
    for (written, sampler), train, sample in product(sweep.samplers, grid.seeds.train, grid.seeds.sample):
        point = changed(sweep.anchor, {**overrides, "train.seed": train, "eval.sample_seed": sample})
        linked = _linked(sweep, point, overrides)
        if linked:
            point = changed(point, linked)
        if sampler:
            point = point.model_copy(update={"sample": sampler})
        axes = {field: value for field in sweep.swept if (value := value_of(point, field)) is not ABSENT}
        given = {**grid.set, **overrides, **written}
        if unfit := [conflict_fault(conflict, given) for conflict in config_conflicts(point)]:
            raise InvalidFields(unfit, given)
        if unbuildable := building_fault(point, given):
            raise InvalidFields([unbuildable], given)
        off = tuple(f"{field} = {value}" for field, value in given.items() if is_off_playbook(field, value))
        yield Point(axes, point, linked, off)


def _linked(sweep: Sweep, point: Experiment, overrides: Mapping[str, Any]) -> dict[str, float]:
    """Fields that follow others, and their values. Raises InvalidFields where a rule does not know the
    point's kind."""
    values, found = {}, []
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
        axes = {field: value for field in sweep.swept if (value := value_of(start, field)) is not ABSENT}
        if start.objective.kind != point.experiment.objective.kind:
            axes["objective.kind"] = start.objective.kind
        yield Point(axes, start, {}, ())


def _without_excluded(points: list[Point], sweep: Sweep) -> Iterator[Point]:
    """The points that no `exclude` entry matches. Raises BadGrid for an entry without effect and if none is
    left."""
    dropped: set[int] = set()
    for index, condition in enumerate(sweep.grid.exclude):
        matching = {number for number, point in enumerate(points) if matches(condition, point.experiment)}
        if not matching:
            raise BadGrid(Fault(("exclude", index), "matches no point of the grid"))
        dropped |= matching
    if len(dropped) == len(points):
        raise BadGrid(Fault(("exclude",), "leaves no point of the grid", about_key=True))
    return (point for number, point in enumerate(points) if number not in dropped)


def _problems(sweep: Sweep, error: InvalidFields) -> list[Problem]:
    """The faults of one point at the places in the grid file where its values were written: varied before
    fixed."""
    places: dict[str, KeyPath] = {}
    given = error.overrides
    others = _other_items(sweep.grid, given)
    written = [
        entry
        for entry in entries(sweep.grid)
        if entry.role is not Role.CONDITION and entry.path[:2] not in others
    ]
    for entry in sorted(written, key=lambda entry: entry.role is Role.FIXED):
        for path, value in entry.values:
            if entry.role is Role.FIXED or (entry.field in given and given[entry.field] == value):
                places.setdefault(entry.field, path)
    places |= {field: ("linked", field) for field in sweep.grid.linked}
    return [sweep.document.problem(placed(_with_advice(fault), places)) for fault in error.faults]


def _other_items(grid: Grid, given: Mapping[str, Any]) -> set[KeyPath]:
    """The items of `points` and `panel` that this point does not come from, though they may share values with
    it."""
    others: set[KeyPath] = set()
    for index, item in enumerate(grid.points):
        if any(given.get(field, ABSENT) != value for field, value in item.items()):
            others.add(("points", index))
    for index, item in enumerate(grid.panel):
        for key, values in item.items():
            if given.get(f"sample.{key}", ABSENT) not in [value for _, value in alternatives(values, ())]:
                others.add(("panel", index))
    return others


def _with_advice(fault: Fault) -> Fault:
    """Only some kinds of a section have this field: the grid should ask for it only there."""
    if not fault.about_key or fault.suggestion:
        return fault
    return replace(
        fault, suggestion="if it varies, move it under when: with the kind that has it as the condition"
    )
