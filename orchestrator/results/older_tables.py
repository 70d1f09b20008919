"""Tables that an earlier version left in a sweep's folder, completed by what the kinds know."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from engine.metrics.registry import metric_facts
from engine.records import paths
from engine.records.manifest import MANIFEST_SCHEMA, Manifest
from orchestrator.errors import UsageError
from orchestrator.results.rows import with_columns_of_kinds
from orchestrator.storage.curves import parquet_bytes
from orchestrator.storage.store import Folder


def complete_tables(folder: Folder) -> bool:
    """Give results.parquet and manifest.json of a sweep what 0.4.0 did not write; whether anything changed.

    A file that is missing or damaged is left to the report, which says so. UsageError when the results name a
    sampler that this version does not have.
    """
    results = _results(folder)
    if results is None:
        return False
    try:
        completed = with_columns_of_kinds(results)
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise UsageError(
            f"{folder.path}/{paths.RESULTS} names a sampler that this version does not have: {problem}"
        ) from None
    changed = completed is not results
    if changed:
        folder.write(paths.RESULTS, parquet_bytes(completed))
    return _complete_manifest(folder, completed) or changed


def _results(folder: Folder) -> pa.Table | None:
    """The results, if they are there and have what the other columns follow from."""
    data = folder.read(paths.RESULTS)
    if data is None:
        return None
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowInvalid, OSError):
        return None
    return table if {"sampler", "axes", "metric"} <= set(table.column_names) else None


def _complete_manifest(folder: Folder, results: pa.Table) -> bool:
    """Add the facts of the metrics that the results have and the manifest does not explain."""
    try:
        value = folder.read_json(paths.MANIFEST)
        if not isinstance(value, dict) or value.get("schema") != MANIFEST_SCHEMA:
            return False
        manifest = Manifest.from_json(value)
    except ValueError:
        return False
    measured = set(results.column("metric").to_pylist())
    unexplained = measured - manifest.metrics.keys()
    if not unexplained:
        return False
    metrics = {**manifest.metrics, **metric_facts(sorted(unexplained))}
    folder.write_record(paths.MANIFEST, manifest.model_copy(update={"metrics": metrics}))
    return True
