"""From finished units in the store to the sweep's results.parquet, curves.parquet and manifest.json."""

from collections.abc import Mapping

import pyarrow as pa

from engine.records import paths
from engine.records.tables import CURVES
from orchestrator.planning.plan import Plan
from orchestrator.results.manifest import build_manifest, earlier_manifest, says_more
from orchestrator.results.rows import cell_records, result_table
from orchestrator.storage.curves import parquet_bytes, training_curves
from orchestrator.storage.store import Folder, Store


def collect(plan: Plan, store: Store, folder: Folder, *, command: str, ran: Mapping[str, int]) -> bool:
    """Write the sweep's tables from what is finished; returns whether they differ from those already there.

    `ran` counts the "trainings" and "cells" that this run finished.
    """
    records = cell_records(plan, store)
    tables = {paths.RESULTS: result_table(plan, records), paths.CURVES: curves_table(plan, store)}
    # Every table is written: `any` over a generator would stop at the first that is new.
    changed = [write_if_new(folder, name, parquet_bytes(table)) for name, table in tables.items()]
    manifest = build_manifest(plan, store, records, command=command, ran=ran)
    if any(changed) or any(ran.values()) or says_more(manifest, earlier_manifest(folder)):
        folder.write_record(paths.MANIFEST, manifest)
        return True
    return False


def curves_table(plan: Plan, store: Store) -> pa.Table:
    """The curves of all trainings that are finished and have a chosen snapshot [CURVES]."""
    curves = [training_curves(unit.train_id, unit.selection_id, store) for unit in plan.ready_trainings]
    return pa.concat_tables([CURVES.empty_table(), *curves])


def write_if_new(folder: Folder, name: str, data: bytes) -> bool:
    """Replace a file unless it has this content; whether it was replaced."""
    if folder.read(name) == data:
        return False
    folder.write(name, data)
    return True
