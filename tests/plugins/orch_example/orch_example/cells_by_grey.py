"""A table: samplers by how bright their images are."""

from reports.read.overview import Overview
from reports.tables.base import TableKind
from reports.tables.table import Column, Table, frame_of, metric_column, metric_values

METRIC = "mean_grey"


def build(overview: Overview) -> Table | None:
    """The table, or None when no cell measured its brightness."""
    measured = [one for one in overview.configurations if METRIC in one.metrics]
    if not measured:
        return None
    rows = [{"sampler": one.sampler_label, **metric_values(one, METRIC)} for one in measured]
    columns = (Column("sampler", "sampler"), metric_column(overview.facts(METRIC)))
    return Table(TABLE.name, TABLE.title, "Darkest first.", frame_of(rows).sort_values(METRIC), columns)


TABLE = TableKind(name="cells_by_grey", title="Samplers by brightness", build=build)
