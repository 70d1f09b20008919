"""What evaluations of the network buy: one row per sampler by NFE, one column per training configuration."""

from reports.formatting import counted
from reports.read.configuration import Configuration
from reports.read.overview import Overview
from reports.read.ranking import best_of
from reports.tables.base import TableKind
from reports.tables.sampler_grid import grid_fields
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

METRICS = ("precision", "recall")
MAX_TRAININGS_WITH_ALL_METRICS = 3
"""With more training configurations a document shows the distance alone."""


def build(overview: Overview) -> Table | None:
    """The table, or None when every sampler costs the same and no spread over sets of images is to show.

    That spread is the sampler grid's affair where there is one.
    """
    one_cost = len({one.nfe for one in overview.configurations}) < 2
    if one_cost and (overview.samplings < 2 or grid_fields(overview)):
        return None
    found = {(one.sampler_label, one.training): one for one in overview.configurations}
    kept = set(overview.samplers) if one_cost else _best_of_their_cost(overview)
    rows = [_row(overview, label, found) for label in overview.samplers if label in kept]
    wide = len(overview.trainings) > MAX_TRAININGS_WITH_ALL_METRICS
    caption = f"NFE: network evaluations per image. {overview.seeds_label}"
    if len(kept) < len(overview.samplers):
        left = len(overview.samplers) - len(kept)
        caption += (
            f" Left out: {counted(left, 'sampler')} beaten at "
            "every training by one of the same solver and cost."
        )
    caption += "" if wide else sampling_words(overview.samplings)
    if wide:
        caption += " Precision and recall are in tables/nfe_quality.csv."
    metrics = (overview.distance,) if wide else (overview.distance, *METRICS)
    return Table(TABLE.name, TABLE.title, caption, frame_of(rows), _columns(overview, metrics))


def _best_of_their_cost(overview: Overview) -> set[str]:
    """Samplers that are the best of their solver family at their cost for some training."""
    rivals: dict[tuple[str, str, int], list[Configuration]] = {}
    for one in overview.configurations:
        rivals.setdefault((one.training, one.family, one.nfe), []).append(one)
    return {(best_of(group, overview.distance) or group[0]).sampler_label for group in rivals.values()}


def _row(overview: Overview, label: str, found: dict[tuple[str, str], Configuration]) -> Row:
    here = {training: found.get((label, training)) for training in overview.trainings}
    present = [one for one in here.values() if one]
    first = present[0]
    row: Row = {
        "sampler": label,
        "solver": first.family,
        "noise": "none" if first.deterministic else "stochastic",
        "num_steps": first.num_steps,
        "nfe": first.nfe,
    }
    for metric in (overview.distance, *METRICS):
        for training, one in here.items():
            row |= metric_values(one, metric, _name(overview, metric, training))
    return row | {"cell_ids": " ".join(cell_id for one in present for cell_id in one.cell_ids)}


def _columns(overview: Overview, metrics: tuple[str, ...]) -> tuple[Column, ...]:
    several = len(overview.trainings) > 1
    values = [
        metric_column(
            overview.facts(metric), _name(overview, metric, training), training if several else None
        )
        for metric in metrics
        for training in overview.trainings
    ]
    names = {_name(overview, overview.distance, one): one if several else "" for one in overview.trainings}
    sets = sampling_columns(overview.distance, overview.samplings, names) if len(metrics) > 1 else []
    ends = len(names)  # the columns of the distance, which these follow
    first = Column("sampler", "sampler", note="cell_ids"), Column("nfe", "NFE", "integer")
    return *first, *values[:ends], *sets, *values[ends:]


def _name(overview: Overview, metric: str, training: str) -> str:
    return f"{metric} ({training})" if len(overview.trainings) > 1 else metric


TABLE = TableKind(name="nfe_quality", position=40, title="Quality by sampler and cost", build=build)
