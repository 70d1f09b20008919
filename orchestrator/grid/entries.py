"""Every value that a grid file gives to a field, with its place in the file, and the sampler panel."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from orchestrator.grid.fields import catalogue, value_fault
from orchestrator.grid.file import Grid, Overrides
from orchestrator.grid.yaml_source import KeyPath


class Role(Enum):
    """What a grid does with the values it gives to a field."""

    FIXED = "set"
    VARIED = "varied"
    PANEL = "panel"
    CONDITION = "condition"


@dataclass(frozen=True)
class Entry:
    """One field of a grid file and its values, each with its place."""

    role: Role
    field: str
    path: KeyPath
    values: tuple[tuple[KeyPath, Any], ...]


def entries(grid: Grid) -> Iterator[Entry]:
    """All fields that the grid gives values to, in the order of the file format."""
    for field, value in grid.set.items():
        yield Entry(Role.FIXED, field, ("set", field), ((("set", field), value),))
    yield from _lists(grid.axes, ("axes",))
    for index, group in enumerate(grid.zip):
        yield from _lists(group, ("zip", index))
    for index, point in enumerate(grid.points):
        for field, value in point.items():
            path = ("points", index, field)
            yield Entry(Role.VARIED, field, path, ((path, value),))
    for index, when in enumerate(grid.when):
        yield from _conditions(when.condition, ("when", index, "if"))
        yield from _lists(when.axes, ("when", index, "axes"))
    for index, condition in enumerate(grid.exclude):
        yield from _conditions(condition, ("exclude", index))
    for index, sampler in enumerate(grid.panel):
        for key, value in sampler.items():
            yield Entry(
                Role.PANEL, f"sample.{key}", ("panel", index, key), alternatives(value, ("panel", index, key))
            )


def combinations(sampler: Overrides, index: int) -> Iterator[dict[str, tuple[KeyPath, Any]]]:
    """Every sampler of one panel entry as key -> (place, value): list values multiply."""
    choices = [alternatives(value, ("panel", index, key)) for key, value in sampler.items()]
    for values in itertools.product(*choices):
        yield dict(zip(sampler, values, strict=True))


def condition_values(field: str, value: Any) -> tuple[Any, ...]:
    """The values a condition accepts: a list means any of, unless the field itself takes that list.

    Where a field takes both list and items (`model.num_blocks: [2, 4]`), all of them are accepted.
    """
    return tuple(choice for _, choice in _condition_values(field, value, ()))


def alternatives(value: Any, path: KeyPath) -> tuple[tuple[KeyPath, Any], ...]:
    """The items of a list, or the one value, each with its place."""
    if isinstance(value, tuple):
        return tuple(((*path, index), item) for index, item in enumerate(value))
    return ((path, value),)


def _lists(axes: dict[str, tuple[Any, ...]], path: KeyPath) -> Iterator[Entry]:
    for field, values in axes.items():
        yield Entry(Role.VARIED, field, (*path, field), alternatives(values, (*path, field)))


def _conditions(condition: Overrides, path: KeyPath) -> Iterator[Entry]:
    for field, value in condition.items():
        yield Entry(Role.CONDITION, field, (*path, field), _condition_values(field, value, (*path, field)))


def _condition_values(field: str, value: Any, path: KeyPath) -> tuple[tuple[KeyPath, Any], ...]:
    items = alternatives(value, path)
    if field not in catalogue() or value_fault(field, value, path) is not None:
        return items
    both = isinstance(value, tuple) and all(value_fault(field, item, place) is None for place, item in items)
    return ((path, value), *(items if both else ()))
