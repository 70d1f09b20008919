"""How a loss falls with compute, once as it is and once above its optimum: two rows a group of trainings."""

import math
from dataclasses import replace

from reports.formatting import listed
from reports.read.overview import Overview
from reports.read.scaling import SERIES, Trainings, trainings_by_size
from reports.tables.base import TableKind
from reports.tables.table import Column, Row, Table, frame_of

CAPTION = (
    "y = a F^b fitted in logarithms; F: MACs of a forward pass times images shown up to the reported "
    "snapshot. b [low, high]: 95% t-interval over trainings; R²: of ln y. Only what is above the optimum can "
    "fall without end, so only it can be a power law."
)


def build(overview: Overview) -> Table | None:
    """The table, or None without both losses on at least three sizes of network."""
    groups = trainings_by_size(overview)
    if not groups:
        return None
    rows = [_row(overview, group, metric) for group in groups for metric in SERIES]
    names = [Column("trainings", "trainings")] if len(groups) > 1 else []
    names.append(Column("loss", "loss"))
    columns = (
        replace(names[0], note="train_ids"),
        *names[1:],
        Column("points", "trainings", "integer"),
        Column("exponent", "b", "number"),
        Column("r_squared", "R²", "number"),
    )
    return Table(TABLE.name, TABLE.title, _caption(groups), frame_of(rows), columns)


def _row(overview: Overview, group: Trainings, metric: str) -> Row:
    law = group.law(metric)
    results = overview.sweep.results
    cells = results[results["train_id"].isin(group.train_ids)]["cell_id"].unique()
    return {
        "trainings": group.label,
        "loss": SERIES[metric],
        "metric": metric,
        "points": len(group.train_ids),
        "factor": law.factor if law else math.nan,
        "exponent": law.exponent if law else math.nan,
        "exponent low": law.low if law else None,
        "exponent high": law.high if law else None,
        "r_squared": law.r_squared if law else math.nan,
        "train_ids": " ".join(group.train_ids),
        "cell_ids": " ".join(cells),
    }


def _caption(groups: list[Trainings]) -> str:
    without = [SERIES[metric] for metric in SERIES if any(group.law(metric) is None for group in groups)]
    return f"{CAPTION} No law where a loss {listed(without)} is not above 0." if without else CAPTION


TABLE = TableKind(name="scaling_law", position=20, title="Scaling law", build=build)
