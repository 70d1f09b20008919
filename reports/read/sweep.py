"""From a sweep's folder to its tables: everything a report may use, checked."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from engine.records import paths
from engine.records.manifest import MANIFEST_SCHEMA, Manifest
from engine.records.tables import ADDED, CURVES, RESULTS
from reports.errors import ReportError
from reports.read.axes import without_seeds

PROTOCOL_COLUMNS = {
    "protocol_id": "evaluation settings",
    "num_samples": "number of images",
    "extractor": "feature extractor",
    "extractor_sha256": "weights of the feature extractor",
    "reference_id": "reference images or their statistics",
}
"""Columns in which the rows of a report agree, in words."""
SHOWN_LETTERS = 12
"""Of a hash in a message."""


@dataclass(frozen=True)
class SweepResults:
    """What one sweep left behind."""

    results: pd.DataFrame
    """Long table, one row per cell, seed and metric [engine.records.tables.RESULTS]."""
    curves: pd.DataFrame
    """Training curves over kimg [engine.records.tables.CURVES]; may be empty."""
    manifest: Manifest
    """What ran, with which code, data and machine."""
    storage: Path
    """Root that the `panel` paths are relative to."""
    folder: Path
    """The sweep's own folder."""

    @property
    def grid(self) -> str | None:
        """The grid as the user wrote it."""
        path = self.folder / paths.GRID
        return path.read_text(encoding="utf-8") if path.is_file() else None


def read_sweep(folder: Path, storage: Path) -> SweepResults:
    """Load a sweep; ReportError when a file is missing, empty or malformed, or mixes protocols or weights."""
    manifest = _read_manifest(folder / paths.MANIFEST)
    results = _read_table(folder / paths.RESULTS, RESULTS)
    if results.empty:
        raise ReportError(f"{folder / paths.RESULTS} has no rows: no cell has finished yet")
    _check_distinct(results, folder / paths.RESULTS)
    check_one_protocol(results)
    check_one_kind_of_weights(results)
    return SweepResults(results, _read_table(folder / paths.CURVES, CURVES), manifest, storage, folder)


def check_one_protocol(results: pd.DataFrame) -> None:
    """Raise ReportError when rows were measured under different protocols, with the columns that differ."""
    differing = []
    for column, words in PROTOCOL_COLUMNS.items():
        counts = results[column].value_counts(dropna=False).sort_index()
        if len(counts) > 1:
            values = ", ".join(
                f"{str(value)[:SHOWN_LETTERS]} ({rows} rows)" for value, rows in counts.items()
            )
            differing.append(f"{words} ({column}): {values}")
    if differing:
        raise ReportError(
            "these results were measured under different evaluation protocols, so their numbers "
            "cannot share a table; report each protocol as its own sweep. They differ in "
            + "; ".join(differing)
        )


def check_one_kind_of_weights(results: pd.DataFrame) -> None:
    """Raise ReportError when one configuration was measured with several averages of the weights.

    Different configurations may have different weights: a sweep may vary them.
    """
    points = [json.dumps(without_seeds(json.loads(axes))) for axes in results["axes"]]
    for _, rows in results.groupby([points, results["sampler"], results["model"]]):
        kinds = sorted(rows["weights"].unique())
        if len(kinds) > 1:
            cells = " and ".join(rows.groupby("weights")["cell_id"].first())
            raise ReportError(
                "one configuration was measured with different averages "
                f"of the weights ({'; '.join(kinds)}), in cells {cells}: "
                "repeats of a configuration differ in their seeds alone"
            )


def _check_distinct(results: pd.DataFrame, path: Path) -> None:
    twice = results[results.duplicated(["cell_id", "train_seed", "sample_seed", "metric"])]
    if len(twice):
        first = twice.iloc[0]
        raise ReportError(
            f"{path} has {first['metric']} of cell {first['cell_id']} more than once for one seed"
        )


def _read_manifest(path: Path) -> Manifest:
    if not path.is_file():
        raise ReportError(f"{path} is missing: is {path.parent} the folder of a sweep that has run?")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReportError(f"{path} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != MANIFEST_SCHEMA:
        raise ReportError(f"{path} does not have the schema {MANIFEST_SCHEMA}")
    try:
        return Manifest.from_json(manifest)
    except ValidationError as error:
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"]))
        raise ReportError(f"{path} has no valid {field}: {fault['msg']}") from None


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
