"""How far images of few steps are those of many from the same latents: one row per deterministic sampler."""

from reports.read.overview import Overview
from reports.tables.base import TableKind
from reports.tables.table import Column, Row, Table, frame_of, metric_column, metric_values

METRIC = "agreement"


def build(overview: Overview) -> Table | None:
    """The table, or None when no cell measured its agreement."""
    measured = [one for one in overview.configurations if METRIC in one.metrics]
    if not measured:
        return None
    labels = {one.sampler_label: one for one in measured}
    rows = []
    for label in (label for label in overview.samplers if label in labels):
        first = labels[label]
        row: Row = {"sampler": label, "solver": first.family, "nfe": first.nfe}
        alike = [one for one in measured if one.sampler_label == label]
        for one in alike:
            row |= metric_values(one, METRIC, one.training)
        rows.append(row | {"cell_ids": " ".join(cell_id for one in alike for cell_id in one.cell_ids)})
    frame = frame_of(rows).sort_values(["solver", "nfe"], kind="stable")
    several = len(overview.trainings) > 1
    trainings = [training for training in overview.trainings if training in frame]
    columns = [
        metric_column(overview.facts(METRIC), training, training if several else None)
        for training in trainings
    ]
    caption = (
        "The same latents, the same solver: 1 means the images of its reference "
        "number of steps, 0 no more alike than two images of different latents. It "
        f"measures the solver's error alone, not the model's. {overview.seeds_label}"
    )
    shown = (Column("sampler", "sampler", note="cell_ids"), Column("nfe", "NFE", "integer"), *columns)
    return Table(TABLE.name, TABLE.title, caption, frame, shown)


TABLE = TableKind(
    name="consistency", position=80, title="Agreement with many steps from the same latents", build=build
)
