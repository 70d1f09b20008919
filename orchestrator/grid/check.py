"""What can be wrong with a grid file before its points are built: names, values, levels, knob groups,
combinations of keys."""

from collections.abc import Callable, Iterator

from engine.config.linked import LINKED_RULES
from engine.config.playbook import KNOB_GROUPS
from orchestrator.grid.entries import Entry, Role, entries
from orchestrator.grid.fields import group_fault, unknown_field_fault, value_fault
from orchestrator.grid.file import Grid
from orchestrator.grid.levels import KindsInGrid, level_fault
from orchestrator.grid.panel import panel_faults
from orchestrator.grid.plugins import plugin_faults
from orchestrator.grid.repeats import field_given_twice_faults, repeated_value_faults, zip_length_faults
from orchestrator.grid.yaml_source import Fault, KeyPath, did_you_mean


def grid_faults(grid: Grid, kinds: KindsInGrid) -> Iterator[Fault]:
    """Everything wrong with a well-formed grid that shows without its points; `kinds` may be in them."""
    if grid.varies not in KNOB_GROUPS:
        groups = tuple(KNOB_GROUPS)
        yield Fault(
            ("varies",),
            f'unknown knob group "{grid.varies}"',
            groups,
            did_you_mean(grid.varies, list(groups)),
        )
    for entry in entries(grid):
        yield from _entry_faults(entry, grid, kinds)
    for check in CHECKS:
        yield from check(grid)


def _entry_faults(entry: Entry, grid: Grid, kinds: KindsInGrid) -> Iterator[Fault]:
    if entry.role is not Role.PANEL:
        unknown = unknown_field_fault(entry.field, entry.path)
        if unknown:
            yield unknown
            return
        if entry.role is Role.VARIED and grid.varies in KNOB_GROUPS:
            wrong_group = group_fault(entry.field, grid.varies, entry.path)
            if wrong_group:
                yield wrong_group
        faults = [value_fault(entry.field, value, path) for path, value in entry.values]
        if any(faults):
            yield from filter(None, faults)
            return
    if not grid.off_playbook and entry.role is not Role.CONDITION:
        levels = (level_fault(entry.field, value, kinds, path) for path, value in entry.values)
        yield from (fault for fault in levels if fault)


def _linked(grid: Grid) -> Iterator[Fault]:
    rules = tuple(LINKED_RULES)
    for field, rule in grid.linked.items():
        unknown = unknown_field_fault(field, ("linked", field))
        if unknown:
            yield unknown
        if rule not in rules:
            yield Fault(("linked", field), f'unknown rule "{rule}"', rules, did_you_mean(rule, list(rules)))


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


def _plugins(grid: Grid) -> Iterator[Fault]:
    yield from plugin_faults(grid.plugins, ("plugins",))


CHECKS: tuple[Callable[[Grid], Iterator[Fault]], ...] = (
    _plugins,
    zip_length_faults,
    repeated_value_faults,
    field_given_twice_faults,
    _linked,
    panel_faults,
    _combinations,
)
"""Checks of a whole grid."""
