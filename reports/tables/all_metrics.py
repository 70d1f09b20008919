"""Every metric of every configuration, so that nothing that was measured is left unseen."""

from dataclasses import replace

from engine.records.metric_facts import MetricFacts
from reports.formatting import counted
from reports.read.configuration import Configuration
from reports.read.overview import Overview
from reports.tables.base import TableKind
from reports.tables.table import Column, Row, Table, frame_of, metric_column, metric_values

GROUPS = ("distance", "score", "overlap", "agreement", "likelihood", "loss", "cost")
"""Groups of metrics in the order of reading; others follow by name, and metrics without a group come last."""


def build(overview: Overview) -> Table:
    """The table; it applies to every sweep, also to one of a single cell."""
    metrics = in_groups(overview)
    rows = [_row(one, metrics) for one in overview.configurations]
    several = len(overview.trainings) > 1
    names = [Column("training", "training")] if several else []
    names.append(Column("sampler", "sampler"))
    columns = (
        replace(names[0], note="cell_ids"),
        *names[1:],
        Column("nfe", "NFE", "integer"),
        *(_column(facts) for facts in metrics),
    )
    caption = (
        f"All {counted(len(metrics), 'metric')} that were measured; an arrow points to the better "
        f"end, and a metric without one describes and does not judge. {overview.seeds_label}"
    )
    return Table(TABLE.name, TABLE.title, caption, frame_of(rows), columns)


def in_groups(overview: Overview) -> list[MetricFacts]:
    """Facts of every metric that some configuration has, group by group."""
    measured = {metric for one in overview.configurations for metric in one.metrics}
    known = list(overview.sweep.manifest.metrics)

    def place(facts: MetricFacts) -> tuple[int, bool, str, int, str]:
        group = GROUPS.index(facts.group) if facts.group in GROUPS else len(GROUPS)
        listed = known.index(facts.name) if facts.name in known else len(known)
        return group, not facts.group, facts.group, listed, facts.name

    return sorted((overview.facts(metric) for metric in measured), key=place)


def _row(one: Configuration, metrics: list[MetricFacts]) -> Row:
    row: Row = {"training": one.training, "sampler": one.sampler_label, "nfe": one.nfe}
    for facts in metrics:
        row |= metric_values(one, facts.name)
    return row | {"train_ids": " ".join(one.train_ids), "cell_ids": " ".join(one.cell_ids)}


def _column(facts: MetricFacts) -> Column:
    """A metric under its group's header, with decimals of its own: metrics of a group differ in size."""
    return replace(metric_column(facts), group=facts.group, places_like=facts.name)


TABLE = TableKind(name="all_metrics", position=90, title="All metrics", build=build)
