"""A grid file's keys as the typed grid, as far as they are right."""

from pydantic import ValidationError

from orchestrator.grid.file import Grid, Overrides
from orchestrator.grid.messages import faults
from orchestrator.grid.yaml_source import Fault, KeyPath

BLANK = {"schema": "orch/grid@1", "name": "blank", "recipe": "blank", "varies": ""}
"""Stands in for required keys that are missing or wrong, so that the rest of a file can still be checked."""


def bind(data: Overrides) -> tuple[Grid, list[Fault]]:
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


def _pruned(data: Overrides, paths: list[KeyPath]) -> Overrides:
    """The mapping without the values at these paths of one or two keys; items go with their whole list."""
    kept = dict(data)
    for path in paths:
        inner = kept.get(str(path[0]))
        if len(path) == 2 and isinstance(inner, dict):
            kept[str(path[0])] = {key: value for key, value in inner.items() if key != path[1]}
        else:
            kept.pop(str(path[0]), None)
    return kept
