"""What a reverse variance buys in few steps: a row per sampler, a column per number of steps.

[playbook 3.6, 5.7, 5.8]
"""

import json
from dataclasses import replace

from reports.formatting import listed
from reports.read.configuration import Configuration
from reports.read.overview import Overview
from reports.tables.base import TableKind
from reports.tables.table import Column, Row, Table, frame_of, metric_column, metric_values

COVARIANCE = "covariance"
"""The setting of a sampler that walks the chain of a discrete process: the variance of its reverse steps."""
BOUNDS = ("nelbo_test", "nelbo_train")
"""Variational bounds of a chain's likelihood; the first that was measured is shown."""
SHOWN_STEPS = 4
"""Numbers of steps that a document shows for each metric: the fewest."""


def build(overview: Overview) -> Table | None:
    """The table, or None unless a chain sampler ran with several covariances, or a bound in several steps."""
    chains = [one for one in overview.configurations if COVARIANCE in one.sampler]
    steps = sorted({one.num_steps for one in chains})
    bound = next((name for name in BOUNDS if any(name in one.metrics for one in chains)), None)
    if not _several_covariances(chains) and not (bound and len(steps) > 1):
        return None
    metrics = [overview.distance, *([bound] if bound else []), "recall"]
    walks: dict[tuple[str, str], list[Configuration]] = {}
    for one in chains:
        walks.setdefault((one.training, _without_steps(one)), []).append(one)
    rows = [_row(own, metrics, steps) for own in walks.values()]
    several = len({training for training, _ in walks}) > 1
    columns = _columns(overview, metrics, steps, several)
    caption = _caption(overview, chains, steps, bound, several)
    return Table(TABLE.name, TABLE.title, caption, frame_of(rows), columns, best_within="training")


def _several_covariances(chains: list[Configuration]) -> bool:
    """Whether one kind of sampler ran with more than one."""
    found: dict[object, set[object]] = {}
    for one in chains:
        found.setdefault(one.sampler["kind"], set()).add(one.sampler[COVARIANCE])
    return any(len(covariances) > 1 for covariances in found.values())


def _without_steps(one: Configuration) -> str:
    return json.dumps(
        {field: value for field, value in one.sampler.items() if field != "num_steps"}, sort_keys=True
    )


def _row(own: list[Configuration], metrics: list[str], steps: list[int]) -> Row:
    """One sampler on one training: every metric at every number of steps."""
    first = own[0]
    at = {one.num_steps: one for one in own}
    row: Row = {
        "sampler": first.sampler_label.replace(f" {first.num_steps}", "", 1),
        "training": first.training,
        "covariance": first.sampler[COVARIANCE],
        "noise": "none" if first.deterministic else "stochastic",
    }
    for metric in metrics:
        for count in steps:
            row |= metric_values(at.get(count), metric, _name(metric, count))
    return row | {"cell_ids": " ".join(cell_id for one in own for cell_id in one.cell_ids)}


def _columns(overview: Overview, metrics: list[str], steps: list[int], several: bool) -> tuple[Column, ...]:
    names = [*([Column("training", "training")] if several else []), Column("sampler", "sampler")]
    values = [
        metric_column(
            overview.facts(metric),
            _name(metric, count),
            f"{count} steps" if count == steps[0] else f"{count}",
        )
        for metric in metrics
        for count in steps[:SHOWN_STEPS]
    ]
    return replace(names[0], note="cell_ids"), *names[1:], *values


def _name(metric: str, count: int) -> str:
    return f"{metric} ({count} steps)"


def _caption(
    overview: Overview, chains: list[Configuration], steps: list[int], bound: str | None, several: bool
) -> str:
    words = ["Bold: the best at that number of steps" + (", of its training." if several else ".")]
    if bound:
        words.append(
            "NELBO: the variational bound of the chain with that covariance; a deterministic chain has none."
        )
    fixed = [one for one in chains if one.deterministic]
    if fixed and not all(one.deterministic for one in chains):
        words.append(f"Deterministic: {listed(sorted({one.family for one in fixed}))}.")
    if len(steps) > SHOWN_STEPS:
        words.append(
            f"{listed([str(count) for count in steps[SHOWN_STEPS:]])} steps are in tables/few_step.csv."
        )
    return " ".join([*words, overview.seeds_label])


TABLE = TableKind(name="few_step", position=50, title="Few steps on the same weights", build=build)
