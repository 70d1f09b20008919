"""The papers' levels: which values a grid may give a field without saying `off_playbook: true`.

A level belongs to a kind and its field: a width of DiT's says nothing of another network's width.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from engine.backbones.base import ModelBase
from engine.backbones.registry import BACKBONES
from engine.config.experiment import Experiment
from engine.samplers.base import SamplerBase
from engine.samplers.registry import SAMPLERS
from orchestrator.grid.entries import Role, entries
from orchestrator.grid.file import Grid, Overrides
from orchestrator.grid.messages import show
from orchestrator.grid.yaml_source import Fault, KeyPath

KindClass = type[ModelBase] | type[SamplerBase]

KINDS_WITH_LEVELS: dict[str, Mapping[str, KindClass]] = {"model": dict(BACKBONES), "sample": dict(SAMPLERS)}
"""Sections whose kinds have levels -> those kinds by name."""

KindsInGrid = Mapping[str, tuple[KindClass, ...]]
"""Section -> the kinds that some point of a grid may have there."""


def kinds_in(grid: Grid, anchor: Experiment | None) -> KindsInGrid:
    """The kinds of a grid's sections: the recipe's, and those that the grid sets, varies or has in its panel.

    Without an anchor, because its recipe is wrong, every kind is taken to be possible.
    """
    found: dict[str, tuple[KindClass, ...]] = {}
    for section, kinds in KINDS_WITH_LEVELS.items():
        given = [entry for entry in entries(grid) if entry.field == f"{section}.kind"]
        names = [value for entry in given if entry.role is not Role.CONDITION for _, value in entry.values]
        replaced = section == "sample" and bool(grid.panel)  # a panel takes the place of the recipe's sampler
        if anchor is None:
            names = list(kinds)
        elif not replaced:
            names.append(getattr(anchor, section).kind)
        found[section] = tuple(kinds[name] for name in dict.fromkeys(names) if name in kinds)
    return found


def level_fault(field: str, value: Any, kinds: KindsInGrid, path: KeyPath) -> Fault | None:
    """Why a value needs `off_playbook: true`, or None if it does not."""
    levels = _levels_of(field, kinds)
    if levels is None or value in levels:
        return None
    hint = "set off_playbook: true to use it anyway (the report will show it)"
    allowed = tuple(f"{level:g}" for level in levels)
    return Fault(path, f"{show(value)} is not a playbook level", allowed, hint)


def _levels_of(field: str, kinds: KindsInGrid) -> tuple[float, ...] | None:
    """The levels of a field over the kinds that have it; None where one of them takes any value.

    Where no kind of the grid has the field, which is wrong for another reason, those of any kind hold.
    """
    section, _, own = field.partition(".")
    everything = tuple(KINDS_WITH_LEVELS.get(section, {}).values())
    owners = _with_field(own, kinds.get(section, ())) or _with_field(own, everything)
    if not owners or any(own not in kind.levels for kind in owners):
        return None
    return tuple(dict.fromkeys(level for kind in owners for level in kind.levels[own]))


def _with_field(name: str, kinds: Iterable[KindClass]) -> list[KindClass]:
    return [kind for kind in kinds if name in kind.model_fields]


def off_playbook_values(given: Overrides, point: Experiment) -> tuple[str, ...]:
    """The given values that are none of the levels of the point's own kinds: `model.channels = 16`."""
    found: list[str] = []
    for field, value in given.items():
        section, _, own = field.partition(".")
        if section not in KINDS_WITH_LEVELS:
            continue
        levels = getattr(point, section).levels
        if own in levels and value not in levels[own]:
            found.append(f"{field} = {value}")
    return tuple(found)
