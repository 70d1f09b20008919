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
from reports.formatting import counted, metric_label, short_ids, significant, without_credentials
from reports.read.overview import Configuration, Overview, best_of, overview
from reports.read.panels import read_panel
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
        sweep=str(sweep.manifest.get("sweep") or sweep.folder.name),
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
    manifest, first = seen.sweep.manifest, seen.sweep.results.iloc[0]
    data = (manifest.get("data") or {}).get("name")
    parts = [f"Recipe {first['recipe']}"] + ([f"data {data}"] if data else [])
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
    if (manifest.get("code") or {}).get("dirty"):
        found.append(Badge("uncommitted code", "warning"))
    seeds = counted(most, "training seed") if fewest == most else f"{fewest} to {most} training seeds"
    found.append(Badge(seeds, "plain"))
    found.append(Badge(counted(seen.sweep.results["cell_id"].nunique(), "cell"), "plain"))
    found.append(Badge(counted(seen.sweep.results["train_id"].nunique(), "training"), "plain"))
    return found


def _panels(seen: Overview) -> list[Picture]:
    """The best cell of each training configuration; of a single one also what it is held against."""
    by_training = [[one for one in seen.configurations if one.training == label] for label in seen.trainings]
    chosen = [one for own in by_training if (one := best_of(own, seen.distance)) is not None]
    if (
        len(chosen) == 1
        and (baseline := seen.baseline(chosen[0])) not in (None, chosen[0])
        and baseline is not None
    ):
        chosen.append(baseline)
    if len(chosen) > MAX_PANELS:
        chosen = sorted(chosen, key=lambda one: one.mean(seen.distance))[:MAX_PANELS]
    return [picture for one in chosen if (picture := _panel(seen, one, chosen)) is not None]


def _panel(seen: Overview, one: Configuration, chosen: Sequence[Configuration]) -> Picture | None:
    """A configuration's sample grid; None when it has none or the file is gone."""
    png = None if one.panel is None else read_panel(seen.sweep.storage, one.panel)
    if png is None:
        return None
    value = f"{metric_label(seen.distance)} {significant(one.mean(seen.distance))}, {one.nfe} NFE"
    name = f"samples_{chosen.index(one) + 1}"
    heading = one.training if len(seen.trainings) > 1 else one.sampler_label
    caption = f"{one.sampler_label}: {value}" if len(seen.trainings) > 1 else value
    return Picture(name, heading, caption, png, short_ids(one.cell_ids[:1]))


def _wanted(seen: Overview, part: str, known: Iterable[str]) -> list[str]:
    """Names of the tables or figures the grid asks for, else all, in the registry's order."""
    asked = (seen.sweep.manifest.get("report") or {}).get(part)
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
