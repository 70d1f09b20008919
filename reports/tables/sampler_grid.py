"""Every cell of a sampler sweep beside the deterministic sampler of the same cost."""

import math
from dataclasses import replace

from reports.formatting import axis_label, value_text
from reports.read.axes import is_sampler_field, value_order
from reports.read.configuration import Configuration
from reports.read.overview import Overview
from reports.read.savings import savings
from reports.tables.base import TableKind
from reports.tables.table import (
    Column,
    Row,
    Table,
    frame_of,
    metric_column,
    metric_values,
    sampling_columns,
    sampling_words,
)

STEPS = frozenset({"sample", "sample.kind", "sample.num_steps"})
"""Axes that `nfe_quality` already shows."""
NOISE_FIELDS = ("sample.s_tmin", "sample.s_tmax", "sample.s_noise")
"""Parameters that say where and how much noise is added, and nothing else."""
METRICS = ("precision", "recall")


def build(overview: Overview) -> Table | None:
    """The table, or None when no parameter of a sampler varies but its kind and its number of steps."""
    fields = grid_fields(overview)
    if not fields:
        return None
    configurations = list(overview.configurations)
    one_axis = len(fields) == 1
    if one_axis:
        configurations.sort(key=lambda one: value_order(one.axes.get(fields[0])))
    else:
        configurations.sort(key=lambda one: value_order(one.mean(overview.distance)))
    points = _points_per_cell(overview)
    rows = [_row(overview, one, fields, points) for one in configurations]
    order = "In grid order" if one_axis else "Best first"
    compared = any(overview.baseline(one) not in (None, one) for one in configurations)
    against = " Δ: against the deterministic sampler of the same training and NFE." if compared else ""
    caption = f"{order}.{against} {overview.seeds_label}"
    if overview.sweep.manifest.collapsed:
        caption += " Points: grid points that are this one sampler."
    caption = " ".join(filter(None, [caption + sampling_words(overview.samplings), savings(overview)]))
    return Table(TABLE.name, TABLE.title, caption, frame_of(rows), _columns(overview, fields, compared))


def grid_fields(overview: Overview) -> list[str]:
    """The parameters of samplers that vary; none when they are no more than kind and number of steps."""
    fields = [field for field in overview.varied if is_sampler_field(field) and field != "sample"]
    return [] if set(fields) <= STEPS else fields


def _row(overview: Overview, one: Configuration, fields: list[str], points: dict[str, int]) -> Row:
    baseline = overview.baseline(one)
    other = baseline.mean(overview.distance) if baseline and baseline is not one else math.nan
    gap = one.mean(overview.distance) - other
    row: Row = {"sampler": one.sampler_label, "training": one.training}
    row |= {field: axis_text(one, field) for field in fields}
    row |= {"nfe": one.nfe, "points": max(points.get(cell_id, 1) for cell_id in one.cell_ids)}
    for metric in (overview.distance, *METRICS):
        row |= metric_values(one, metric)
    row |= {"difference": gap, "relative_difference": gap / other if other else math.nan}
    return row | {"train_ids": " ".join(one.train_ids), "cell_ids": " ".join(one.cell_ids)}


def axis_text(one: Configuration, field: str) -> str:
    """The axis' value; a dash where no step adds noise and the parameter does nothing."""
    if one.deterministic and field in NOISE_FIELDS:
        return "—"
    return value_text(one.axes[field]) if field in one.axes else "—"


def _columns(overview: Overview, fields: list[str], compared: bool) -> tuple[Column, ...]:
    gaps = [
        Column("difference", "Δ", "signed", places_like=overview.distance),
        Column("relative_difference", "Δ %", "percent"),
    ]
    training = [Column("training", "training")] if len(overview.trainings) > 1 else []
    names = [*training, *(Column(field, axis_label(field)) for field in fields)]
    return (
        replace(names[0], note="cell_ids"),
        *names[1:],
        Column("nfe", "NFE", "integer"),
        *([Column("points", "points", "integer")] if overview.sweep.manifest.collapsed else []),
        metric_column(overview.facts(overview.distance)),
        *sampling_columns(overview.distance, overview.samplings, {overview.distance: ""}),
        *(gaps if compared else []),
        *(metric_column(overview.facts(metric)) for metric in METRICS),
    )


def _points_per_cell(overview: Overview) -> dict[str, int]:
    """cell id -> distinct grid points it stands for, itself included."""
    own = {cell_id: one for one in overview.configurations for cell_id in one.cell_ids}
    counts: dict[str, int] = {}
    for group in overview.sweep.manifest.collapsed:
        if group.cell_id in own:
            others = [point for point in group.points if point != own[group.cell_id].axes]
            counts[group.cell_id] = counts.get(group.cell_id, 1) + len(others)
    return counts


TABLE = TableKind(name="sampler_grid", position=70, title="Sampler grid", build=build)
