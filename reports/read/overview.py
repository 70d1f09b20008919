"""The long table seen as a researcher sees it: training configurations under samplers, seeds folded into
estimates."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from engine.records.metric_facts import judging_distance
from reports.errors import ReportError
from reports.formatting import describe, sentence
from reports.read.axes import is_sampler_field, partly_there, value_order, varied_fields
from reports.read.solvers import family, is_deterministic
from reports.read.stats import Estimate, best, estimate, seeds_label
from reports.read.sweep import SEED_FIELDS, SweepResults


@dataclass(frozen=True)
class Configuration:
    """One training configuration under one sampler, over all of its seeds."""

    training: str
    """Label of the training configuration, such as "C = 32"."""
    axes: Mapping[str, Any]
    """Grid values, without seeds."""
    sampler: Mapping[str, Any]
    sampler_label: str
    nfe: int
    num_steps: int
    model: Mapping[str, Any]
    """The network's kind and knobs."""
    network: str
    """Its published name, or nothing."""
    num_params: int | None
    macs: int | None
    """Multiply-accumulates executed in a forward pass of an image, the mean over the seeds."""
    train_ids: tuple[str, ...]
    cell_ids: tuple[str, ...]
    snapshot_kimg: tuple[float, ...]
    panel: str | None
    """Sample grid of the first seed, relative to the storage."""
    metrics: Mapping[str, Estimate]

    @property
    def deterministic(self) -> bool:
        """Whether the sampler draws no noise."""
        return is_deterministic(self.sampler)

    @property
    def family(self) -> str:
        """Solver family."""
        return family(self.sampler)

    def mean(self, metric: str) -> float:
        """Mean of a metric; NaN when it was not measured."""
        return self.metrics[metric].mean if metric in self.metrics else float("nan")


@dataclass(frozen=True)
class Overview:
    """A sweep's configurations in grid order: trainings by their axes, samplers by NFE."""

    sweep: SweepResults
    distance: str
    """Name of the metric that quality is judged by, exactly as measured."""
    configurations: tuple[Configuration, ...]
    varied: Mapping[str, tuple[Any, ...]]
    """Field -> its distinct values over the grid, for the fields that vary; seeds excluded."""

    @cached_property
    def trainings(self) -> tuple[str, ...]:
        """Labels of the training configurations, in order."""
        return tuple(dict.fromkeys(one.training for one in self.configurations))

    @cached_property
    def samplers(self) -> tuple[str, ...]:
        """Labels of the samplers, by NFE."""
        return tuple(dict.fromkeys(one.sampler_label for one in by_nfe(self.configurations)))

    @cached_property
    def reference_sampler(self) -> str:
        """Where trainings are compared: the sampler most of them have; then deterministic, Heun, highest
        NFE."""
        covered: dict[str, list[Configuration]] = {}
        for one in self.configurations:
            covered.setdefault(one.sampler_label, []).append(one)

        def rank(label: str) -> tuple[int, bool, bool, int]:
            one = covered[label][0]
            return len(covered[label]), one.deterministic, one.family == "Heun", one.nfe

        deterministic = [label for label in covered if covered[label][0].deterministic]
        return max(deterministic or covered, key=rank)

    @cached_property
    def at_reference(self) -> dict[str, Configuration]:
        """Training label -> its configuration at the reference sampler."""
        return {
            one.training: one for one in self.configurations if one.sampler_label == self.reference_sampler
        }

    @cached_property
    def best(self) -> Configuration | None:
        """The configuration with the lowest mean distance."""
        return best_of(self.configurations, self.distance)

    def baseline(self, one: Configuration) -> Configuration | None:
        """The deterministic configuration of the same training and NFE, Heun's before others; None without
        one."""
        return self._deterministic.get((one.training, one.nfe))

    @cached_property
    def _deterministic(self) -> dict[tuple[str, int], Configuration]:
        chosen: dict[tuple[str, int], Configuration] = {}
        for one in self.configurations:
            key = (one.training, one.nfe)
            if one.deterministic and (key not in chosen or (one.family == "Heun" != chosen[key].family)):
                chosen[key] = one
        return chosen

    @cached_property
    def seeds(self) -> tuple[int, int]:
        """Fewest and most training seeds behind a distance."""
        return min(one.seeds for one in self._distances), max(one.seeds for one in self._distances)

    @cached_property
    def _distances(self) -> list[Estimate]:
        return [one.metrics[self.distance] for one in self.configurations if self.distance in one.metrics]

    @cached_property
    def seeds_label(self) -> str:
        """What the spread of this sweep's numbers says, as a sentence."""
        fewest, most = self.seeds
        if fewest < most:
            return f"Means over {fewest} to {most} training seeds, with a 95% interval [low, high] from three on."
        return sentence(seeds_label(most, self.samplings))

    @cached_property
    def samplings(self) -> int:
        """Most sampling seeds of a training."""
        return max(one.samplings for one in self._distances)


@dataclass(frozen=True)
class _Row:
    values: Mapping[str, Any]
    axes: Mapping[str, Any]
    sampler: Mapping[str, Any]

    @property
    def sampler_key(self) -> str:
        return json.dumps(self.sampler, sort_keys=True)


def overview(sweep: SweepResults) -> Overview:
    """Fold a sweep's rows; raises ReportError when no distance was measured."""
    rows = [
        _Row(row, _drop_seeds(json.loads(row["axes"])), json.loads(row["sampler"])) for row in _records(sweep)
    ]
    points = [row.axes for row in rows]
    varied = varied_fields([*points, *collapsed_points(sweep)]) | partly_there(points)
    fields = [field for field in varied if not is_sampler_field(field)]
    labels = _sampler_labels(rows)
    groups: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        groups.setdefault(
            (json.dumps([row.axes.get(field) for field in fields]), row.sampler_key), []
        ).append(row)
    configurations = [_configuration(group, labels[key], fields) for (_, key), group in groups.items()]
    order = {label: number for number, label in enumerate(_natural(configurations, fields))}
    configurations.sort(key=lambda one: (order[one.training], one.nfe, not one.deterministic))
    return Overview(sweep, _distance(sweep), tuple(configurations), varied)


def _distance(sweep: SweepResults) -> str:
    try:
        return judging_distance(sweep.results["metric"].unique())
    except LookupError as error:
        raise ReportError(str(error)) from None


def collapsed_points(sweep: SweepResults) -> list[dict[str, Any]]:
    """Axes of the grid points that turned out to be another point's cell, without seeds and the panel's
    sampler."""
    groups = sweep.manifest.get("collapsed") or []
    points = [_drop_seeds(point) for group in groups for point in group.get("points") or []]
    return [{field: value for field, value in point.items() if field != "sampler"} for point in points]


def grid_points(overview: Overview) -> list[tuple[Mapping[str, Any], Configuration]]:
    """Every point of the grid that has a result: collapsed points have that of the cell they are."""
    own = {cell_id: one for one in overview.configurations for cell_id in one.cell_ids}
    groups = overview.sweep.manifest.get("collapsed") or []
    extra = [
        (axes, own[g["cell_id"]]) for g in groups if g["cell_id"] in own for axes in g.get("points") or []
    ]
    return [*((one.axes, one) for one in overview.configurations), *extra]


def by_nfe(configurations: Iterable[Configuration]) -> list[Configuration]:
    """Configurations by cost; deterministic ones before stochastic ones of the same cost."""
    return sorted(configurations, key=lambda one: (one.nfe, not one.deterministic))


def best_of(configurations: Sequence[Configuration], distance: str) -> Configuration | None:
    """The configuration with the lowest mean distance, or None when none was measured."""
    measured = {
        number: one.metrics[distance] for number, one in enumerate(configurations) if distance in one.metrics
    }
    winner = best(measured, "lower")
    return None if winner is None else configurations[winner]


def _drop_seeds(axes: Mapping[str, Any]) -> dict[str, Any]:
    return {field: value for field, value in axes.items() if field not in SEED_FIELDS}


def _natural(configurations: Sequence[Configuration], fields: Sequence[str]) -> list[str]:
    """Training labels in the order of their axes' values."""
    first = {one.training: one for one in reversed(configurations)}
    return sorted(first, key=lambda label: [value_order(first[label].axes.get(field)) for field in fields])


def _records(sweep: SweepResults) -> list[dict[str, Any]]:
    ordered = sweep.results.sort_values(["train_seed", "sample_seed"], kind="stable")
    return [{str(name): value for name, value in row.items()} for row in ordered.to_dict("records")]


def _sampler_labels(rows: Sequence[_Row]) -> dict[str, str]:
    """Sampler JSON -> its label, lengthened by what differs where two samplers share a label."""
    sharing: dict[str, dict[str, Mapping[str, Any]]] = {}
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


def _prefixed(sampler: Mapping[str, Any]) -> dict[str, Any]:
    return {f"sample.{field}": value for field, value in sampler.items()}


def _configuration(rows: Sequence[_Row], sampler_label: str, training_fields: Sequence[str]) -> Configuration:
    first, axes = rows[0].values, rows[0].axes
    model, network = json.loads(first["model"]), str(first["network"] or "")
    varied = describe({field: axes[field] for field in training_fields if field in axes})
    # Where others are called by what varies, a training without it (a DyDiT's start) is called by its
    # network. Where nothing varies, it is called by what its grid gave: a winner on its own need not be the
    # recipe.
    given = describe({field: value for field, value in axes.items() if not is_sampler_field(field)})
    unvaried = network or model.get("kind") if training_fields else given
    return Configuration(
        training=varied or unvaried or str(first["recipe"]),
        axes=axes,
        sampler=rows[0].sampler,
        sampler_label=sampler_label,
        nfe=int(first["nfe"]),
        num_steps=int(first["num_steps"]),
        model=model,
        network=network,
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
    values: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        by_seed = values.setdefault(str(row.values["metric"]), {})
        by_seed.setdefault(int(row.values["train_seed"]), []).append(float(row.values["value"]))
    return {metric: estimate(by_seed) for metric, by_seed in sorted(values.items())}
