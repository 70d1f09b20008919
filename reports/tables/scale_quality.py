"""What another training buys: a row per training configuration, all at the reference sampler."""

from reports.formatting import axis_label, counted, listed, value_text
from reports.read.axes import is_sampler_field
from reports.read.configuration import Configuration
from reports.read.overview import Overview
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

METRICS = ("precision", "recall", "seconds_per_image")


def build(overview: Overview) -> Table | None:
    """The table, or None when the sweep has a single training configuration."""
    if len(overview.trainings) < 2:
        return None
    fields = [field for field in overview.varied if not is_sampler_field(field)]
    speeds = _training_speeds(overview)
    rows = [_row(one, fields, overview.distance, speeds) for one in overview.at_reference.values()]
    columns = _columns(overview, fields)
    return Table(TABLE.name, TABLE.title, _caption(overview), frame_of(rows), columns)


def _caption(overview: Overview) -> str:
    nfe = next(iter(overview.at_reference.values())).nfe
    unmeasured = [training for training in overview.trainings if training not in overview.at_reference]
    missing = f" Not measured there: {listed(unmeasured)}." if unmeasured else ""
    return (
        f"Every training at the same sampler, {overview.reference_sampler}, "
        f"with {counted(nfe, 'network evaluation')} per image.{missing} {overview.seeds_label} "
        "MACs: multiply-accumulates executed in one forward pass of one image."
        f"{sampling_words(overview.samplings)}"
    )


def _row(one: Configuration, fields: list[str], distance: str, speeds: dict[str, float]) -> Row:
    known = [speeds[train_id] for train_id in one.train_ids if train_id in speeds]
    row: Row = {field: value_text(one.axes.get(field)) for field in fields}
    row |= {"network": one.network or "custom", "num_params": one.num_params, "macs": one.macs}
    row |= {"snapshot_kimg": ", ".join(f"{kimg:g}" for kimg in one.snapshot_kimg)}
    for metric in (distance, *METRICS):
        row |= metric_values(one, metric)
    row |= {"training_images_per_second": sum(known) / len(known) if known else None}
    return row | {"train_ids": " ".join(one.train_ids), "cell_ids": " ".join(one.cell_ids)}


def _columns(overview: Overview, fields: list[str]) -> tuple[Column, ...]:
    axes = [
        Column(field, axis_label(field), note="train_ids" if field == fields[0] else "") for field in fields
    ]
    named = any(one.network for one in overview.at_reference.values())
    return (
        *axes,
        *([Column("network", "network")] if named else []),
        Column("num_params", "parameters", "scaled"),
        Column("macs", "MACs", "scaled"),
        Column("snapshot_kimg", "best kimg"),
        metric_column(overview.facts(overview.distance)),
        *sampling_columns(overview.distance, overview.samplings, {overview.distance: ""}),
        *(metric_column(overview.facts(metric)) for metric in METRICS),
        Column("training_images_per_second", "train img / s", "integer"),
    )


def _training_speeds(overview: Overview) -> dict[str, float]:
    return {
        one.train_id: one.images_per_second
        for one in overview.sweep.manifest.trainings
        if one.images_per_second is not None
    }


TABLE = TableKind(name="scale_quality", position=10, title="Quality by training configuration", build=build)
