"""The best samplers of one training, and which of the others sampling noise cannot tell from the best."""

import math
from collections.abc import Sequence
from dataclasses import replace

from reports.formatting import axis_label, counted
from reports.read.configuration import Configuration
from reports.read.overview import Overview
from reports.read.paired import NOISE, Gap, gaps_to, num_blocks
from reports.read.ranking import best_of
from reports.read.stats import SEEDS_FOR_T
from reports.tables.base import TableKind
from reports.tables.sampler_grid import axis_text, grid_fields
from reports.tables.table import Column, Row, Table, frame_of, metric_column, metric_values

FEWEST = 6
"""Samplers of one training from which on the best of them are listed."""
SHOWN = 10


def build(overview: Overview) -> Table | None:
    """The table, or None when no training has FEWEST samplers with a finite distance."""
    groups = [_finite(overview, training) for training in overview.trainings]
    rivals = [group for group in groups if len(group) >= FEWEST]
    best = best_of([group[0] for group in rivals], overview.distance)
    if best is None:
        return None
    ranked = next(group for group in rivals if group[0] is best)
    gaps = gaps_to(overview, best, ranked)
    baseline = overview.baseline(best)
    shown = [rank for rank, one in enumerate(ranked) if rank < SHOWN or one is baseline]
    fields = grid_fields(overview)  # where they say more than a sampler's label
    rows = [_row(overview, ranked[rank], rank, gaps[rank], fields) for rank in shown]
    caption = _caption(overview, ranked, gaps, baseline)
    return Table(TABLE.name, TABLE.title, caption, frame_of(rows), _columns(overview, ranked, fields, gaps))


def _finite(overview: Overview, training: str) -> list[Configuration]:
    """A training's configurations with a finite distance, best first."""
    own = [one for one in overview.configurations if one.training == training]
    finite = [one for one in own if math.isfinite(one.mean(overview.distance))]
    return sorted(finite, key=lambda one: one.mean(overview.distance))


def _row(overview: Overview, one: Configuration, rank: int, gap: Gap, fields: Sequence[str]) -> Row:
    row: Row = {"rank": rank + 1, "sampler": one.sampler_label, "training": one.training}
    row |= {field: axis_text(one, field) for field in fields}
    row |= {"nfe": one.nfe, **metric_values(one, overview.distance)}
    ends = (gap.low, gap.high) if rank else (None, None)
    row |= {
        "difference": gap.value if rank else math.nan,
        "difference low": ends[0],
        "difference high": ends[1],
    }
    row |= {"against_best": _verdict(gap) if rank else "best"}
    return row | {"train_ids": " ".join(one.train_ids), "cell_ids": " ".join(one.cell_ids)}


def _verdict(gap: Gap) -> str:
    if not gap.known:
        return "—"
    return "≈ not told apart" if gap.holds_zero else "worse"


def _columns(
    overview: Overview, ranked: Sequence[Configuration], fields: Sequence[str], gaps: Sequence[Gap]
) -> tuple[Column, ...]:
    names = [Column(field, axis_label(field)) for field in fields] or [Column("sampler", "sampler")]
    costs_differ = len({one.nfe for one in ranked}) > 1
    judged = any(gap.known for gap in gaps[1:])
    return (
        replace(Column("rank", "rank", "integer"), note="cell_ids"),
        *names,
        *([Column("nfe", "NFE", "integer")] if costs_differ else []),
        metric_column(overview.facts(overview.distance)),
        Column("difference", "Δ to the best", "signed", places_like=overview.distance),
        *([Column("against_best", "against the best")] if judged else []),
    )


def _caption(
    overview: Overview, ranked: Sequence[Configuration], gaps: Sequence[Gap], baseline: Configuration | None
) -> str:
    total = counted(len(ranked), "sampler")
    shown = min(SHOWN, len(ranked))
    of = f" of {ranked[0].training}" if len(overview.trainings) > 1 else ""
    words = [f"The {shown} best of {total}{of}." if shown < len(ranked) else f"All {total}{of}, best first."]
    if baseline is not None and baseline in ranked[SHOWN:]:
        words.append(f"Last: {baseline.sampler_label}, deterministic at the cost of the best.")
    if overview.seeds[1] >= SEEDS_FOR_T:
        words.append(f"{overview.distance}: {overview.seeds_label}")
    words += _noise(overview, gaps)
    words.append(
        f"The lowest of {len(ranked):,} noisy values is partly luck, so the best "
        "looks better than it is, and so does its lead (the winner's curse)."
    )
    return " ".join(words)


def _noise(overview: Overview, gaps: Sequence[Gap]) -> list[str]:
    """What the intervals say, and how many samplers they do not tell from the best."""
    images = f"{int(overview.sweep.results['num_samples'].iloc[0]):,} images of a cell"
    if not any(gap.known for gap in gaps[1:]):
        return [f"No intervals: the distances of these cells were not taken again on parts of the {images}."]
    alike = sum(gap.holds_zero for gap in gaps[1:])
    interval = (
        f"Δ [low, high]: {NOISE}, from leaving out each of {num_blocks(overview)} blocks of the {images}."
    )
    if not alike:
        return [interval, "Every other sampler is told from the best: no interval holds 0."]
    return [interval, f"≈: the interval holds 0, as it does for {alike:,} of the {len(gaps) - 1:,} others."]


TABLE = TableKind(name="best_samplers", position=60, title="Best samplers", build=build)
