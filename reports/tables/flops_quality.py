"""What the work of a forward pass buys: one row per training configuration, all at the reference sampler."""

import math
from collections.abc import Collection, Mapping

from reports.formatting import axis_label, value_text
from reports.read.axes import is_sampler_field
from reports.read.configuration import Configuration
from reports.read.overview import Overview
from reports.references import published_numbers
from reports.tables.base import TableKind
from reports.tables.table import Column, Row, Table, frame_of, metric_column, metric_values

BUDGET = "model.flops_ratio"
GROUP = "share of FLOPs"
REFERENCE = "P5 Table 8"
CURVE = "train/flops_ratio"


def build(overview: Overview) -> Table | None:
    """The table, or None when a forward pass of every training costs the same."""
    found = list(overview.at_reference.values())
    if len({one.macs for one in found if one.macs is not None}) < 2:
        return None
    fields = [field for field in overview.varied if not is_sampler_field(field)]
    slowest = max(found, key=lambda one: one.macs or 0).mean("seconds_per_image")
    trained = _trained_ratios(overview)
    rows = [_row(one, fields, overview.distance, slowest, trained) for one in found]
    columns = _columns(overview, fields)
    return Table(TABLE.name, TABLE.title, _caption(overview), frame_of(rows), columns)


def is_dynamic(one: Configuration) -> bool:
    """Whether its network chooses what to execute: then it has a budget for that."""
    return BUDGET.removeprefix("model.") in one.model


def reference_model(one: Configuration, known: Collection[str]) -> str:
    """The model of Table 8 beside a transformer: its own, else the smallest, DiT-S; "" for a U-Net."""
    own = one.network.split("/")[0]
    small = {"dit": "DiT-S", "dydit": "DyDiT-S"}.get(str(one.model.get("kind")), "")
    return own if own in known else small


def _row(
    one: Configuration, fields: list[str], distance: str, slowest: float, trained: Mapping[str, float]
) -> Row:
    ratios = [trained[train_id] for train_id in one.train_ids if train_id in trained]
    seconds = one.mean("seconds_per_image")
    row: Row = {field: value_text(one.axes.get(field)) for field in fields}
    row |= {"budget": one.model.get("flops_ratio") if is_dynamic(one) else None}
    row |= {"trained_ratio": sum(ratios) / len(ratios) if ratios else None}
    row |= metric_values(one, "flops_ratio")
    row |= {"macs": one.macs, **metric_values(one, distance), **metric_values(one, "seconds_per_image")}
    row |= {"speed_up": slowest / seconds if seconds else math.nan}
    row |= _reference(one)
    return row | {"train_ids": " ".join(one.train_ids), "cell_ids": " ".join(one.cell_ids)}


def _reference(one: Configuration) -> Row:
    """The published row of the same budget, if there is one."""
    table = published_numbers("dydit_table8")
    name = reference_model(one, set(table["model"]))
    row = table[(table["model"] == name) & (table["flops_ratio"] == one.model.get("flops_ratio", 1.0))]
    known = {} if row.empty else row.iloc[0].to_dict()
    return {
        "reference": name if known else "—",
        "reference_acceleration": known.get("acceleration", math.nan),
        "reference_fid_delta": known.get("fid_delta", math.nan),
    }


def _columns(overview: Overview, fields: list[str]) -> tuple[Column, ...]:
    found = list(overview.at_reference.values())
    dynamic = any(map(is_dynamic, found))
    curves = _trained_ratios(overview)
    axes = [
        Column(field, axis_label(field), note="train_ids" if field == fields[0] else "") for field in fields
    ]
    shares = [
        *([] if BUDGET in fields else [Column("budget", "budget", "number", group=GROUP)]),
        *([Column("trained_ratio", "training", "number", group=GROUP)] if curves else []),
        Column("flops_ratio", "sampling", "number", group=GROUP),
    ]
    published = (
        Column("reference", "model", group=REFERENCE),
        Column(
            "reference_acceleration",
            "speed-up",
            "number",
            group=REFERENCE,
            places_like="reference_acceleration",
        ),
        Column(
            "reference_fid_delta", "FID Δ", "signed", group=REFERENCE, places_like="reference_acceleration"
        ),
    )
    return (
        *axes,
        *(shares if dynamic else []),
        Column("macs", "MACs", "scaled"),
        metric_column(overview.facts(overview.distance)),
        metric_column(overview.facts("seconds_per_image")),
        Column("speed_up", "speed-up", "number"),
        *(published if dynamic else ()),
    )


def _caption(overview: Overview) -> str:
    words = [
        f"Every training at the same sampler, {overview.reference_sampler}. {overview.seeds_label}",
        "MACs: multiply-accumulates executed in one forward pass of one image. "
        "Speed-up: time per image of the row with the most MACs over that of the row.",
    ]
    dynamic = [one for one in overview.at_reference.values() if is_dynamic(one)]
    if dynamic:
        words.append(
            "Share of FLOPs: of attention and MLPs, as asked for (budget), at the end of training over its "
            "noise levels (training), and executed while sampling (sampling). P5 measured its speed-ups on a "
            "V100, batched, and its FID on ImageNet-256."
        )
    if any(not one.network for one in dynamic):
        words.append(
            "A network of no published size has DyDiT-S, the smallest, beside it for orientation only."
        )
    return " ".join(words)


def _trained_ratios(overview: Overview) -> dict[str, float]:
    """The last point of each training's curve of executed FLOPs."""
    curves = overview.sweep.curves
    last = curves[curves["name"] == CURVE].sort_values("kimg").groupby("train_id")["value"].last()
    return {str(train_id): float(value) for train_id, value in last.items()}


TABLE = TableKind(
    name="flops_quality", position=30, title="Quality by the work of a forward pass", build=build
)
