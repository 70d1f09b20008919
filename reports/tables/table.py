"""A table: raw numbers for files and the columns a reader is shown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from engine.records.metric_facts import MetricFacts
from reports.formatting import decimals, fixed, scaled, short_ids, significant
from reports.read.configuration import Configuration

MILLI = 1000.0
"""Scale of a metric stored in seconds and shown in thousandths; without a best, as it is a machine's."""

Row = dict[str, object]
"""Column of a table's frame -> value in one of its rows."""

MAX_SHOWN_ROWS = 60
"""Rows of a table in a document; the files hold all of them."""


@dataclass(frozen=True)
class Column:
    """One column of a document's table, taken from the frame."""

    name: str
    label: str
    kind: Literal["text", "integer", "number", "signed", "percent", "scaled", "milli"] = "text"
    better: Literal["lower", "higher"] | None = None
    """Which end to set in bold."""
    group: str = ""
    """Header above the labels of neighbouring columns."""
    note: str = ""
    """Frame column whose ids stand in small type under the value."""
    places_like: str = ""
    """Frame column whose number of decimals this one takes."""

    @property
    def full_label(self) -> str:
        """Group and label in one line."""
        return " ".join(filter(None, (self.group, self.label)))


@dataclass(frozen=True)
class Shown:
    """One cell as it is read."""

    text: str
    interval: str = ""
    note: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A finished table; `frame` has plain column names and raw values."""

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    best_within: str = ""
    """Frame column whose equal values make a group with a best of its own; "" for one best in all rows."""

    @property
    def rows(self) -> list[list[Shown]]:
        """The first MAX_SHOWN_ROWS rows as they are read; bold is chosen over all rows."""
        shown = [
            _shown(self.frame, column, self._places(column), self.best_within) for column in self.columns
        ]
        return [list(row) for row in zip(*shown, strict=True)][:MAX_SHOWN_ROWS]

    def _places(self, column: Column) -> int:
        """Decimals of a column: the same for all columns of a group."""
        alike = [one.name for one in self.columns if column.group and one.group == column.group]
        names = [column.places_like] if column.places_like else alike or [column.name]
        values: list[float] = []
        if column.kind != "text":
            for name in names:
                values.extend(self.frame[name].dropna())
        return decimals(values)

    @property
    def note(self) -> str:
        """Says so when rows are left to the files."""
        if len(self.frame) <= MAX_SHOWN_ROWS:
            return ""
        return (
            f"The first {MAX_SHOWN_ROWS} of {len(self.frame):,} "
            f"rows; all of them are in tables/{self.name}.csv."
        )

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Upper header: (group, columns it spans), in order; empty when no column has one."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and column.group and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        return spans if any(group for group, _ in spans) else []


def metric_values(one: Configuration | None, metric: str, name: str | None = None) -> Row:
    """Frame values of a metric: mean, interval, spread over training seeds and over one's sampling seeds."""
    name = name or metric
    found = one.metrics.get(metric) if one else None
    return {
        name: found.mean if found else math.nan,
        f"{name} low": found.low if found else None,
        f"{name} high": found.high if found else None,
        f"{name} std": found.std if found else None,
        f"{name} seeds": found.seeds if found else 0,
        f"{name} lowest": found.lowest if found else math.nan,
        f"{name} sampling std": found.sampling_std if found else None,
        f"{name} sampling seeds": found.samplings if found else 0,
    }


def metric_column(facts: MetricFacts, name: str | None = None, label: str | None = None) -> Column:
    """Column of a metric; with `label` the metric's name moves to the group above it."""
    name = name or facts.name
    if facts.scale == MILLI:
        return Column(name, facts.label, "milli")
    better = None if facts.better == "neither" else facts.better
    if label is None:
        return Column(name, facts.header, "number", better)
    return Column(name, label, "number", better, group=facts.header)


def sampling_columns(metric: str, samplings: int, names: Mapping[str, str]) -> list[Column]:
    """Lowest and spread over a training's sampling seeds, for names -> labels; none for a single seed."""
    if samplings < 2:
        return []
    kinds: tuple[tuple[str, str, Literal["lower"] | None], ...] = (
        ("lowest", f"lowest of {samplings}", "lower"),
        ("sampling std", "sampling std", None),
    )
    return [
        Column(f"{name} {kind}", label or header, "number", better, group=header if label else "")
        for kind, header, better in kinds
        for name, label in names.items()
    ]


def sampling_words(samplings: int) -> str:
    """What those columns say; "" without them."""
    if samplings < 2:
        return ""
    return (
        f" Lowest and std: over the {samplings} sampling seeds of a training, sampling noise "
        "only; the mean is the number to compare, the lowest what EDM reports of three."
    )


def frame_of(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as a frame; columns that no row fills stay numeric."""
    frame = pd.DataFrame(list(rows))
    empty = [name for name in frame.columns if frame[name].isna().all()]
    return frame.astype(dict.fromkeys(empty, float))


def _shown(frame: pd.DataFrame, column: Column, places: int, within: str) -> list[Shown]:
    values = list(frame[column.name])
    best = _best_rows(frame, column, within)
    notes = list(frame[column.note]) if column.note else [""] * len(values)
    return [
        Shown(
            _text(value, column, places),
            interval=_interval(frame, column, row, places),
            note=short_ids(note.split()),
            best=row in best,
        )
        for row, (value, note) in enumerate(zip(values, notes, strict=True))
    ]


def _best_rows(frame: pd.DataFrame, column: Column, within: str) -> set[int]:
    """Rows with the best finite value of their group; none in a group of equals."""
    if column.better is None:
        return set()
    groups: dict[Any, dict[int, float]] = {}
    owners = frame[within] if within else [""] * len(frame)
    for row, (owner, value) in enumerate(zip(owners, frame[column.name], strict=True)):
        if value is not None and math.isfinite(value):
            groups.setdefault(owner, {})[row] = value
    end = {"lower": min, "higher": max}[column.better]
    best: set[int] = set()
    for found in groups.values():
        if len(set(found.values())) > 1:
            lead = end(found.values())
            best |= {row for row, value in found.items() if value == lead}
    return best


def _text(value: Any, column: Column, places: int) -> str:
    if column.kind == "text":
        return str(value)
    if value is None or math.isnan(value):
        return "—"
    if math.isinf(value):
        return "∞"
    if column.kind == "scaled":
        return scaled(value)
    if column.kind == "milli":
        return significant(1000 * value)
    if column.kind == "integer":
        return f"{value:,.0f}"
    if column.kind == "percent":
        return fixed(100 * value, 1, signed=True) + "%"
    return fixed(value, places, signed=column.kind == "signed")


def _interval(frame: pd.DataFrame, column: Column, row: int, places: int) -> str:
    if column.kind not in ("number", "signed") or f"{column.name} low" not in frame:
        return ""
    low, high = frame[f"{column.name} low"].iloc[row], frame[f"{column.name} high"].iloc[row]
    signed = column.kind == "signed"
    return "" if pd.isna(low) else f"[{fixed(low, places, signed)}, {fixed(high, places, signed)}]"
