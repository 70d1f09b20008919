"""A report before it has a format: words, tables and pictures in reading order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from reports.document.checks import missing_cells
from reports.document.headline import answer, title
from reports.document.limits import is_smoke, limits, off_playbook
from reports.document.protocol import level, marked
from reports.document.reproducibility import WhatRan, what_ran
from reports.figures.registry import FIGURES
from reports.figures.style import styled, to_png
from reports.formatting import counted, short_ids, significant, without_credentials
from reports.read.configuration import Configuration
from reports.read.grouping import overview
from reports.read.overview import Overview
from reports.read.panels import read_panel
from reports.read.ranking import best_of
from reports.read.sweep import SweepResults
from reports.tables.registry import TABLES
from reports.tables.table import Table

MAX_PANELS = 6
"""Sample grids that a document shows; the results table has the paths of all."""


@dataclass(frozen=True)
class Badge:
    """A short remark that a reader must not miss."""

    text: str
    tone: Literal["warning", "plain"]


@dataclass(frozen=True)
class Picture:
    """A PNG with its words."""

    name: str
    title: str
    caption: str
    png: bytes
    ids: str = ""


@dataclass(frozen=True)
class Document:
    """Everything a renderer needs."""

    sweep: str
    title: str
    subtitle: str
    answer: tuple[str, ...]
    badges: tuple[Badge, ...]
    panels: tuple[Picture, ...]
    tables: tuple[Table, ...]
    figures: tuple[Picture, ...]
    what_ran: WhatRan
    grid: str | None
    limits: tuple[str, ...]


def compose(sweep: SweepResults) -> Document:
    """Turn a sweep's results into a document; raises ReportError for what a user can mend."""
    seen = overview(sweep)
    return Document(
        sweep=str(sweep.manifest.sweep or sweep.folder.name),
        title=title(seen),
        subtitle=_subtitle(seen),
        answer=answer(seen),
        badges=tuple(_badges(seen)),
        panels=tuple(_panels(seen)),
        tables=tuple(_tables(seen)),
        figures=tuple(_figures(seen)),
        what_ran=what_ran(seen),
        grid=None if sweep.grid is None else without_credentials(sweep.grid),
        limits=limits(seen),
    )


def _subtitle(seen: Overview) -> str:
    manifest = seen.sweep.manifest
    first = seen.sweep.results.iloc[0]
    parts = [f"Recipe {first['recipe']}"]
    if manifest.data.name:
        parts.append(f"data {manifest.data.name}")
    parts.append(f"judged by {seen.distance} on {int(first['num_samples']):,} images per cell")
    return ", ".join(parts)


def _badges(seen: Overview) -> list[Badge]:
    manifest = seen.sweep.manifest
    fewest, most = seen.seeds
    found = [Badge("quick protocol", "plain")] if level(seen) == "quick" else []
    if is_smoke(seen):
        found.append(Badge("SMOKE RUN", "warning"))
    if off_playbook(seen):
        found.append(Badge(f"OFF PLAYBOOK: {', '.join(off_playbook(seen))}", "warning"))
    if missing_cells(seen):
        found.append(Badge(f"{counted(len(missing_cells(seen)), 'cell')} without a result", "warning"))
    if manifest.code.dirty:
        found.append(Badge("uncommitted code", "warning"))
    seeds = counted(most, "training seed") if fewest == most else f"{fewest} to {most} training seeds"
    found.append(Badge(seeds, "plain"))
    found.append(Badge(counted(seen.sweep.results["cell_id"].nunique(), "cell"), "plain"))
    found.append(Badge(counted(seen.sweep.results["train_id"].nunique(), "training"), "plain"))
    return found


def _panels(seen: Overview) -> list[Picture]:
    """Sample grids of the chosen configurations whose files are there."""
    chosen = _shown_configurations(seen)
    found = [_panel(seen, one, chosen) for one in chosen]
    return [picture for picture in found if picture is not None]


def _shown_configurations(seen: Overview) -> list[Configuration]:
    """The best configuration of each training; of a single training also what that is held against."""
    chosen: list[Configuration] = []
    for label in seen.trained:
        best = best_of([one for one in seen.configurations if one.trained == label], seen.distance)
        if best is not None:
            chosen.append(best)
    if len(chosen) == 1:
        baseline = seen.baseline(chosen[0])
        if baseline is not None and baseline is not chosen[0]:
            chosen.append(baseline)
    if len(chosen) > MAX_PANELS:
        chosen = sorted(chosen, key=lambda one: one.mean(seen.distance))[:MAX_PANELS]
    return chosen


def _panel(seen: Overview, one: Configuration, chosen: Sequence[Configuration]) -> Picture | None:
    """A configuration's sample grid; None when it has none or the file is gone."""
    png = None if one.panel is None else read_panel(seen.sweep.storage, one.panel)
    if png is None:
        return None
    value = f"{seen.facts(seen.distance).label} {significant(one.mean(seen.distance))}, {one.nfe} NFE"
    name = f"samples_{chosen.index(one) + 1}"
    heading = one.training if len(seen.trainings) > 1 else one.sampler_label
    caption = f"{one.sampler_label}: {value}" if len(seen.trainings) > 1 else value
    return Picture(name, heading, caption, png, short_ids(one.cell_ids[:1]))


def _wanted(seen: Overview, part: Literal["tables", "figures"], known: Iterable[str]) -> list[str]:
    """Names of the tables or figures the grid asks for, else all, in the registry's order."""
    choice = seen.sweep.manifest.report
    asked = choice.tables if part == "tables" else choice.figures
    return [name for name in known if asked is None or name in asked]


def _tables(seen: Overview) -> list[Table]:
    built = (TABLES[name].build(seen) for name in _wanted(seen, "tables", TABLES))
    return [marked(table, seen) for table in built if table is not None]


def _figures(seen: Overview) -> list[Picture]:
    found = []
    with styled():
        for name in _wanted(seen, "figures", FIGURES):
            figure = FIGURES[name].plot(seen)
            if figure is not None:
                found.append(Picture(name, figure.title, figure.caption, to_png(figure)))
    return found
