"""Where in a grid file a point's faults were written."""

from dataclasses import replace

from orchestrator.errors import Problem
from orchestrator.grid.entries import Role, alternatives, entries
from orchestrator.grid.fields import ABSENT
from orchestrator.grid.file import Grid, Overrides
from orchestrator.grid.override import InvalidFields
from orchestrator.grid.recipe import placed
from orchestrator.grid.sweep import Sweep
from orchestrator.grid.yaml_source import Fault, KeyPath


def problems_of_point(sweep: Sweep, error: InvalidFields) -> list[Problem]:
    """A point's faults at the places in the grid file where its values were written, varied before fixed."""
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


def _other_items(grid: Grid, given: Overrides) -> set[KeyPath]:
    """The items of `points` and `panel` that this point does not come from, even where they share values."""
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
