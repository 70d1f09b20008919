"""From rows to configurations: rows that differ in their seeds alone are one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pydantic import JsonValue

from engine.records.metric_facts import judging_distance
from engine.records.record import JsonObject
from reports.errors import ReportError
from reports.formatting import describe
from reports.read.axes import is_sampler_field, partly_there, value_order, varied_fields, without_seeds
from reports.read.configuration import Configuration
from reports.read.overview import Overview
from reports.read.points import collapsed_points
from reports.read.stats import Estimate, estimate
from reports.read.sweep import SweepResults


@dataclass(frozen=True)
class _Row:
    """A row of the results with its JSON parsed."""

    values: Mapping[str, Any]
    """Column -> value."""
    axes: JsonObject
    """Grid values, without seeds."""
    sampler: JsonObject

    @property
    def sampler_key(self) -> str:
        """Equal for equal samplers."""
        return json.dumps(self.sampler, sort_keys=True)


def overview(sweep: SweepResults) -> Overview:
    """Fold a sweep's rows; raises ReportError when no distance was measured."""
    rows = _rows(sweep)
    points = [row.axes for row in rows]
    varied = varied_fields([*points, *collapsed_points(sweep)]) | partly_there(points)
    trained_axes = _trained_axes(sweep)
    fields = [field for field in varied if not is_sampler_field(field)]
    naming = _Naming(
        training_fields=fields,
        trained_fields=[field for field in fields if field in trained_axes],
        samplers=_sampler_labels(rows),
    )
    configurations = [_configuration(group, naming) for group in _groups(rows, fields)]
    order = {label: number for number, label in enumerate(_natural(configurations, fields))}
    configurations.sort(key=lambda one: (order[one.training], one.nfe, not one.deterministic))
    return Overview(sweep, _distance(sweep), tuple(configurations), varied, trained_axes)


def _distance(sweep: SweepResults) -> str:
    try:
        return judging_distance(sweep.results["metric"].unique())
    except LookupError as error:
        raise ReportError(str(error)) from None


def _rows(sweep: SweepResults) -> list[_Row]:
    """All rows, in the order of their seeds."""
    ordered = sweep.results.sort_values(["train_seed", "sample_seed"], kind="stable")
    found: list[_Row] = []
    for row in ordered.to_dict("records"):
        axes = without_seeds(json.loads(row["axes"]))
        values = {str(name): value for name, value in row.items()}
        found.append(_Row(values, axes, json.loads(row["sampler"])))
    return found


def _trained_axes(sweep: SweepResults) -> frozenset[str]:
    """Fields that make another training, of all cells."""
    texts = sweep.results["trained_axes"].unique()
    return frozenset(field for text in texts for field in json.loads(text))


def _groups(rows: Sequence[_Row], fields: Sequence[str]) -> list[list[_Row]]:
    """Rows of one configuration: the same training and average of weights, under the same sampler."""
    groups: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        training = json.dumps([row.axes.get(field) for field in fields])
        groups.setdefault((training, row.sampler_key), []).append(row)
    return list(groups.values())


def _natural(configurations: Sequence[Configuration], fields: Sequence[str]) -> list[str]:
    """Training labels in the order of their axes' values."""
    first = {one.training: one for one in reversed(configurations)}
    return sorted(first, key=lambda label: [value_order(first[label].axes.get(field)) for field in fields])


@dataclass(frozen=True)
class _Naming:
    """What the labels of a sweep's configurations are made of."""

    training_fields: Sequence[str]
    """Varied fields of trainings and of averages of their weights."""
    trained_fields: Sequence[str]
    """Those that make another training."""
    samplers: Mapping[str, str]
    """Sampler JSON -> its label."""

    def training(self, row: _Row) -> str:
        """Label of the weights that are sampled."""
        return self._label(row, self.training_fields)

    def trained(self, row: _Row) -> str:
        """Label of the training alone."""
        return self._label(row, self.trained_fields)

    def _label(self, row: _Row, fields: Sequence[str]) -> str:
        varied = describe({field: row.axes[field] for field in fields if field in row.axes})
        if varied:
            return varied
        # Where others are called by what varies, a training without it (a DyDiT's
        # start) is called by its network. Where nothing varies, it is called by
        # what its grid gave: a winner on its own need not be the recipe.
        if fields:
            unvaried = str(row.values["network"] or json.loads(row.values["model"]).get("kind") or "")
        else:
            own = {f: value for f, value in row.axes.items() if not is_sampler_field(f)}
            swept = [field for field in own if field in self.training_fields]
            unvaried = describe({field: value for field, value in own.items() if field not in swept})
        return unvaried or str(row.values["recipe"])


def _sampler_labels(rows: Sequence[_Row]) -> dict[str, str]:
    """Sampler JSON -> its label, lengthened by what differs where two samplers share a label."""
    sharing: dict[str, dict[str, JsonObject]] = {}
    for row in rows:
        sharing.setdefault(str(row.values["sampler_label"]), {})[row.sampler_key] = row.sampler
    labels: dict[str, str] = {}
    for label, samplers in sharing.items():
        varied = varied_fields([_prefixed(one) for one in samplers.values()])
        differing = [field.removeprefix("sample.") for field in varied]
        for key, sampler in samplers.items():
            extra = describe(_prefixed({field: sampler[field] for field in differing if field in sampler}))
            labels[key] = f"{label}, {extra}" if extra else label
    return labels


def _prefixed(sampler: Mapping[str, JsonValue]) -> JsonObject:
    """A sampler's own fields as dotted fields of the experiment."""
    return {f"sample.{field}": value for field, value in sampler.items()}


def _configuration(rows: Sequence[_Row], naming: _Naming) -> Configuration:
    """The configuration that rows are of; what does not depend on the seed is the first row's."""
    first = rows[0].values
    return Configuration(
        training=naming.training(rows[0]),
        trained=naming.trained(rows[0]),
        axes=rows[0].axes,
        sampler=rows[0].sampler,
        sampler_label=naming.samplers[rows[0].sampler_key],
        family=str(first["solver"]),
        deterministic=bool(first["deterministic"]),
        nfe=int(first["nfe"]),
        num_steps=int(first["num_steps"]),
        model=json.loads(first["model"]),
        network=str(first["network"] or ""),
        weights=str(first["weights"]),
        num_params=_count(first["num_params"]),
        macs=_count(pd.Series([row.values["macs"] for row in rows]).mean()),
        train_ids=tuple(dict.fromkeys(row.values["train_id"] for row in rows)),
        cell_ids=tuple(dict.fromkeys(row.values["cell_id"] for row in rows)),
        snapshot_kimg=tuple(sorted({float(row.values["snapshot_kimg"]) for row in rows})),
        panel=next((row.values["panel"] for row in rows if isinstance(row.values["panel"], str)), None),
        metrics=_estimates(rows),
    )


def _count(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def _estimates(rows: Sequence[_Row]) -> dict[str, Estimate]:
    """Metric -> its estimate over training seeds and, within each, sampling seeds."""
    values: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        by_seed = values.setdefault(str(row.values["metric"]), {})
        by_seed.setdefault(int(row.values["train_seed"]), []).append(float(row.values["value"]))
    return {metric: estimate(by_seed) for metric, by_seed in sorted(values.items())}
