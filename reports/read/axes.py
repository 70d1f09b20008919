"""Which fields vary over points, and in which order values come."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from engine.records.record import JsonObject

AxisValues = Mapping[str, JsonValue]
"""Dotted field -> its value at a point: mostly a number, but whatever a grid can hold."""

SEED_FIELDS = frozenset({"train.seed", "eval.sample_seed"})
"""Axes along which a configuration is repeated, not changed."""


def is_sampler_field(field: str) -> bool:
    """Whether an axis belongs to sampling and not to training."""
    return field == "sample" or field.startswith("sample.")


def without_seeds(axes: AxisValues) -> JsonObject:
    """Axes that make another configuration; along the seeds one is repeated."""
    return {field: value for field, value in axes.items() if field not in SEED_FIELDS}


def varied_fields(points: Sequence[AxisValues]) -> dict[str, tuple[Any, ...]]:
    """Fields with several values over the points, and the values in order."""
    fields = dict.fromkeys(field for axes in points for field in axes)
    values = {field: _values(field, points) for field in fields}
    return {field: distinct for field, distinct in values.items() if len(distinct) > 1}


def partly_there(points: Sequence[AxisValues]) -> dict[str, tuple[Any, ...]]:
    """Training fields that some points lack: a DyDiT has a budget and its start has none."""
    fields = dict.fromkeys(field for axes in points for field in axes if not is_sampler_field(field))
    lacking = [field for field in fields if any(field not in axes for axes in points)]
    return {field: _values(field, points) for field in lacking}


def _values(field: str, points: Sequence[AxisValues]) -> tuple[Any, ...]:
    """The distinct values of a field over the points that have it, in order."""
    found = {json.dumps(axes[field], sort_keys=True): axes[field] for axes in points if field in axes}
    return tuple(sorted(found.values(), key=value_order))


def value_order(value: Any) -> tuple[bool, float, str]:
    """Sort key of axis values: numbers by size, then everything else, NaN included, by its text."""
    number = isinstance(value, int | float) and value == value
    return not number, float(value) if number else 0.0, str(value)
