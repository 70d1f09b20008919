"""From a sweep's folder to its tables: everything a report may use, checked."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from reports.errors import ReportError
from reports.schema import ADDED, CURVES, RESULTS

MANIFEST = "orch/manifest@1"
PROTOCOL_COLUMNS = ("protocol_id", "num_samples", "extractor", "extractor_sha256", "reference_id")


@dataclass(frozen=True)
class SweepResults:
    """What one sweep left behind."""

    results: pd.DataFrame
    """Long table, one row per cell, seed and metric [reports.schema.RESULTS]."""
    curves: pd.DataFrame
    """Training curves over kimg [reports.schema.CURVES]; may be empty."""
    manifest: dict[str, Any]
    """What ran, with which code, data and machine."""
    storage: Path
    """Root that the `panel` paths are relative to."""
    folder: Path
    """The sweep's own folder."""

    @property
    def grid(self) -> str | None:
        """The grid as the user wrote it."""
        path = self.folder / "grid.yaml"
        return path.read_text(encoding="utf-8") if path.is_file() else None


def read_sweep(folder: Path, storage: Path) -> SweepResults:
    """Load a sweep; raises ReportError when a file is missing, empty, malformed, or mixes protocols."""
    manifest = _read_manifest(folder / "manifest.json")
    results = _read_table(folder / "results.parquet", RESULTS)
    if results.empty:
        raise ReportError(f"{folder / 'results.parquet'} has no rows: no cell has finished yet")
    _check_distinct(results, folder / "results.parquet")
    check_one_protocol(results)
    return SweepResults(results, _read_table(folder / "curves.parquet", CURVES), manifest, storage, folder)


def check_one_protocol(results: pd.DataFrame) -> None:
    """Raise ReportError when rows were measured under different protocols, with the columns that differ."""
    differing = []
    for column in PROTOCOL_COLUMNS:
        counts = results[column].value_counts(dropna=False).sort_index()
        if len(counts) > 1:
            values = ", ".join(f"{value} ({rows} rows)" for value, rows in counts.items())
            differing.append(f"{column}: {values}")
    if differing:
        raise ReportError(
            "these results were measured under different evaluation protocols, so their numbers cannot share a table; "
            "report each protocol as its own sweep. They differ in " + "; ".join(differing)
        )


def _check_distinct(results: pd.DataFrame, path: Path) -> None:
    twice = results[results.duplicated(["cell_id", "train_seed", "sample_seed", "metric"])]
    if len(twice):
        first = twice.iloc[0]
        raise ReportError(f"{path} has {first['metric']} of cell {first['cell_id']} more than once for one seed")


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ReportError(f"{path} is missing: is {path.parent} the folder of a sweep that has run?")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReportError(f"{path} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != MANIFEST:
        raise ReportError(f"{path} does not have the schema {MANIFEST}")
    return manifest


def _read_table(path: Path, schema: pa.Schema) -> pd.DataFrame:
    if not path.is_file():
        raise ReportError(f"{path} is missing: is {path.parent} the folder of a sweep that has run?")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ReportError(f"{path} is not a Parquet file: {error}") from error
    for name in ADDED.keys() & set(schema.names) - set(table.column_names):
        table = table.append_column(name, pa.repeat(ADDED[name], len(table)))
    missing = [name for name in schema.names if name not in table.column_names]
    if missing:
        raise ReportError(f"{path} lacks the columns {', '.join(missing)}")
    try:
        frame: pd.DataFrame = table.select(schema.names).cast(schema).to_pandas()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ReportError(f"{path} does not have the types of the report schema: {error}") from error
    return frame
