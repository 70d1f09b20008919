"""The panel: samplers that every training is evaluated with."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from engine.config.experiment import Experiment
from orchestrator.grid.entries import alternatives, combinations
from orchestrator.grid.file import Grid
from orchestrator.grid.messages import faults
from orchestrator.grid.override import section_type
from orchestrator.grid.yaml_source import Fault, KeyPath

MAX_POINTS = 100_000
"""Points a grid may have. More is a slip: nobody runs them all."""


def panel_size(grid: Grid) -> int:
    """Samplers that every training is evaluated with: those of the panel, or the recipe's one."""
    return (
        sum(math.prod(len(alternatives(value, ())) for value in entry.values()) for entry in grid.panel) or 1
    )


def panel_faults(grid: Grid) -> Iterator[Fault]:
    """Panels that are too large, and entries that are no sampler or the same one twice."""
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


def _in_panel(fault: Fault, index: int, combination: Mapping[str, tuple[KeyPath, Any]]) -> Fault:
    """A sampler's fault at the place in the panel where the value was written."""
    keys = fault.path[1:]
    place = combination[str(keys[0])][0] if keys and keys[0] in combination else ("panel", index, *keys)
    return replace(fault, path=place)
