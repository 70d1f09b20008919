"""Which points a grid has: products, lists that move together, one at a time, conditions."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator

from engine.config.experiment import Experiment
from orchestrator.grid.entries import Role, condition_values, entries
from orchestrator.grid.fields import value_of
from orchestrator.grid.file import Grid, Overrides
from orchestrator.grid.panel import MAX_POINTS, panel_size
from orchestrator.grid.yaml_source import Fault

Option = Overrides
"""Dotted fields and the values they take together."""

Dimension = tuple[str, tuple[Option, ...]]
"""A name and the options to choose one from."""


class BadGrid(Exception):
    """The grid as a whole is wrong: too large, or a part of it has no effect."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        super().__init__(fault)


def dimensions(grid: Grid) -> list[Dimension]:
    """What multiplies: each axis, each zip group, the list of points."""
    found: list[Dimension] = [
        (field, tuple({field: value} for value in values)) for field, values in grid.axes.items()
    ]
    for group in grid.zip:
        rows = zip(*group.values(), strict=True)
        found.append((" + ".join(group), tuple(dict(zip(group, row, strict=True)) for row in rows)))
    if grid.points:
        found.append(("points", grid.points))
    return found


def swept_fields(grid: Grid) -> tuple[str, ...]:
    """Fields that vary, in the order of the file."""
    return tuple(dict.fromkeys(entry.field for entry in entries(grid) if entry.role is Role.VARIED))


def enumerate_options(
    grid: Grid, anchor: Experiment, resolve: Callable[[Option], Experiment]
) -> list[Option]:
    """Overrides of all points before `exclude`, panel and seeds. Raises BadGrid before building too many."""
    choices = [options for _, options in dimensions(grid)]
    copies = len(grid.seeds.train) * len(grid.seeds.sample) * panel_size(grid)
    if grid.enumerate == "one_at_a_time":
        _refuse_many(copies * (1 + sum(map(len, choices))))
        found = _one_at_a_time(choices, anchor)
    else:
        _refuse_many(copies * math.prod(map(len, choices)))
        found = [merged(combination) for combination in itertools.product(*choices)]
    for index, when in enumerate(grid.when):
        axes = [tuple({field: value} for value in values) for field, values in when.axes.items()]
        holds = [_holds(when.condition, option, resolve) for option in found]
        if not any(holds):
            raise BadGrid(Fault(("when", index, "if"), "holds at no point of the grid"))
        _refuse_many(copies * (len(found) + sum(holds) * (math.prod(map(len, axes)) - 1)))
        found = list(_with_extra(found, holds, axes))
    return found


def matches(condition: Option, experiment: Experiment) -> bool:
    """Whether the experiment has one of the accepted values in every field of a condition."""
    return all(
        value_of(experiment, field) in condition_values(field, value) for field, value in condition.items()
    )


def _holds(condition: Option, option: Option, resolve: Callable[[Option], Experiment]) -> bool:
    """The same for an option. A section is built only when it must be, as the entry itself may add fields."""
    for field, accepted in condition.items():
        section = {name: value for name, value in option.items() if name.split(".")[0] == field.split(".")[0]}
        value = option[field] if field in option else value_of(resolve(section), field)
        if value not in condition_values(field, accepted):
            return False
    return True


def _one_at_a_time(choices: list[tuple[Option, ...]], anchor: Experiment) -> list[Option]:
    """The anchor, then each dimension's options that differ from it."""
    options = [option for dimension in choices for option in dimension]
    return [{}, *(o for o in options if any(value_of(anchor, field) != value for field, value in o.items()))]


def _with_extra(found: list[Option], holds: list[bool], axes: list[tuple[Option, ...]]) -> Iterator[Option]:
    for option, extends in zip(found, holds, strict=True):
        extra = itertools.product(*axes) if extends else [()]
        yield from ({**option, **merged(combination)} for combination in extra)


def merged(options: Iterable[Option]) -> Option:
    """Several options as one; of a field given twice the last holds."""
    return {field: value for option in options for field, value in option.items()}


def _refuse_many(count: int) -> None:
    if count > MAX_POINTS:
        raise BadGrid(Fault((), f"the grid has {count:,} points; the limit is {MAX_POINTS:,}"))
