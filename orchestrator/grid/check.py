"""What can be wrong with a grid file: its shape, names, values, levels, knob groups, combinations."""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from engine.config.experiment import Experiment
from engine.config.linked import LINKED_RULES
from engine.config.playbook import KNOB_GROUPS
from orchestrator.grid.entries import Entry, Role, alternatives, combinations, entries
from orchestrator.grid.fields import group_fault, level_fault, unknown_field_fault, value_fault
from orchestrator.grid.file import Grid
from orchestrator.grid.messages import faults
from orchestrator.grid.override import section_type
from orchestrator.grid.yaml_source import Fault, KeyPath, did_you_mean

MAX_POINTS = 100_000
"""Points a grid may have. More is a slip: nobody runs them all."""


BLANK = {"schema": "orch/grid@1", "name": "blank", "recipe": "blank", "varies": ""}
"""Stands in for required keys that are missing or wrong, so that the rest of a file can still be checked."""


def bind(data: dict[str, Any]) -> tuple[Grid, list[Fault]]:
    """The typed grid, without the keys that are wrong, and what is wrong with those."""
    try:
        return Grid.model_validate(data), []
    except ValidationError as error:
        found = faults(error, Grid)
    for depth in (2, 1):
        try:
            return Grid.model_validate(
                {**BLANK, **_pruned(data, [fault.path[:depth] for fault in found])}
            ), found
        except ValidationError:
            continue
    return Grid.model_validate(BLANK), found


def _pruned(data: dict[str, Any], paths: list[KeyPath]) -> dict[str, Any]:
    """The mapping without the values at these paths of one or two keys; list items go with their whole
    list."""
    kept = dict(data)
    for path in paths:
        inner = kept.get(str(path[0]))
        if len(path) == 2 and isinstance(inner, dict):
            kept[str(path[0])] = {key: value for key, value in inner.items() if key != path[1]}
        else:
            kept.pop(str(path[0]), None)
    return kept


def grid_faults(grid: Grid) -> Iterator[Fault]:
    """Everything wrong with a well-formed grid that can be seen without its recipe."""
    if grid.varies not in KNOB_GROUPS:
        groups = tuple(KNOB_GROUPS)
        yield Fault(
            ("varies",),
            f'unknown knob group "{grid.varies}"',
            groups,
            did_you_mean(grid.varies, list(groups)),
        )
    for entry in entries(grid):
        yield from _entry_faults(entry, grid)
    for check in CHECKS:
        yield from check(grid)


def panel_size(grid: Grid) -> int:
    """Samplers that every training is evaluated with: those of the panel, or the recipe's one."""
    return (
        sum(math.prod(len(alternatives(value, ())) for value in entry.values()) for entry in grid.panel) or 1
    )


def _entry_faults(entry: Entry, grid: Grid) -> Iterator[Fault]:
    if entry.role is not Role.PANEL:
        unknown = unknown_field_fault(entry.field, entry.path)
        if unknown:
            yield unknown
            return
        if entry.role is Role.VARIED and grid.varies in KNOB_GROUPS:
            wrong_group = group_fault(entry.field, grid.varies, entry.path)
            if wrong_group:
                yield wrong_group
        wrong = [fault for path, value in entry.values if (fault := value_fault(entry.field, value, path))]
        if wrong:
            yield from wrong
            return
    if not grid.off_playbook and entry.role is not Role.CONDITION:
        levels = (level_fault(entry.field, value, path) for path, value in entry.values)
        yield from (fault for fault in levels if fault)


def _zip_lengths(grid: Grid) -> Iterator[Fault]:
    for index, group in enumerate(grid.zip):
        lengths = {field: len(values) for field, values in group.items()}
        if len(set(lengths.values())) > 1:
            text = ", ".join(f"{field} has {length}" for field, length in lengths.items())
            yield Fault(("zip", index), f"lists that move together must be equally long: {text}")


def _repeated_values(grid: Grid) -> Iterator[Fault]:
    for entry in entries(grid):
        if entry.role is Role.VARIED and entry.path[0] in ("axes", "when"):
            yield from _repeats(entry.values)
    for index, group in enumerate(grid.zip):
        rows = zip(*group.values(), strict=False)
        first = next(iter(group))
        yield from _repeats((("zip", index, first, row), values) for row, values in enumerate(rows))
    for name in ("points", "exclude"):
        yield from _repeats(
            ((name, i), frozenset(point.items())) for i, point in enumerate(getattr(grid, name))
        )
    yield from _repeats(alternatives(grid.seeds.train, ("seeds", "train")))
    yield from _repeats(alternatives(grid.seeds.sample, ("seeds", "sample")))


def _repeats(values: Iterable[tuple[KeyPath, Hashable]]) -> Iterator[Fault]:
    seen = set()
    for path, value in values:
        if value in seen:
            yield Fault(path, "given twice")
        seen.add(value)


def _fields_given_twice(grid: Grid) -> Iterator[Fault]:
    """A field may vary in one place only; the entries of `points` are one place, and so are those of
    `when`."""
    homes: dict[str, KeyPath] = {}
    varied = [(entry.field, entry.path) for entry in entries(grid) if entry.role is Role.VARIED]
    for field, path in [*varied, *((field, ("linked", field)) for field in grid.linked)]:
        first = homes.setdefault(field, path)
        same_place = first[0] == path[0] and path[0] in ("points", "when")
        if first != path and not same_place:
            yield Fault(path, f"already given under {first[0]}", about_key=True)


def _linked(grid: Grid) -> Iterator[Fault]:
    rules = tuple(LINKED_RULES)
    for field, rule in grid.linked.items():
        unknown = unknown_field_fault(field, ("linked", field))
        if unknown:
            yield unknown
        if rule not in rules:
            yield Fault(("linked", field), f'unknown rule "{rule}"', rules, did_you_mean(rule, list(rules)))


def _panel(grid: Grid) -> Iterator[Fault]:
    if panel_size(grid) > MAX_POINTS:
        yield Fault(("panel",), f"{panel_size(grid):,} samplers; the limit is {MAX_POINTS:,}")
        return
    seen = set()
    for index, entry in enumerate(grid.panel):
        for combination in combinations(entry, index):
            try:
                fields = {key: value for key, (_, value) in combination.items()}
                sampler = section_type("sample").validate_python(fields)
            except ValidationError as error:
                yield from (
                    _in_panel(fault, index, combination) for fault in faults(error, Experiment, ("sample",))
                )
                continue
            if sampler in seen:
                yield Fault(("panel", index), "the same sampler is given twice")
            seen.add(sampler)


def _in_panel(fault: Fault, index: int, combination: dict[str, tuple[KeyPath, Any]]) -> Fault:
    """A sampler's fault at the place in the panel where the value was written."""
    keys = fault.path[1:]
    place = combination[str(keys[0])][0] if keys and keys[0] in combination else ("panel", index, *keys)
    return replace(fault, path=place)


def _combinations(grid: Grid) -> Iterator[Fault]:
    if grid.panel and grid.varies == "sampler":
        yield Fault(("panel",), "a sweep that varies the sampler has no panel; use axes", about_key=True)
    if grid.panel:
        for field in grid.set:
            if field.startswith("sample."):
                yield Fault(
                    ("set", field), "does nothing: the panel replaces the recipe's sampler", about_key=True
                )
    if grid.search:
        yield from _search(grid, ("search",), "search")
    elif grid.enumerate == "coordinate":
        yield from _search(grid, ("enumerate",), "enumerate: coordinate")


def _search(grid: Grid, place: KeyPath, words: str) -> Iterator[Fault]:
    if not (grid.axes or grid.zip or grid.points):
        yield Fault(place, "there is nothing to search; give axes, zip or points", about_key=True)
    for name in ("when", "exclude", "measure_start"):
        if getattr(grid, name):
            yield Fault((name,), f"cannot be combined with {words}", about_key=True)
    if grid.search and grid.enumerate != "product":
        yield Fault(("enumerate",), "cannot be combined with search, which picks from all combinations")


CHECKS: tuple[Callable[[Grid], Iterator[Fault]], ...] = (
    _zip_lengths,
    _repeated_values,
    _fields_given_twice,
    _linked,
    _panel,
    _combinations,
)
