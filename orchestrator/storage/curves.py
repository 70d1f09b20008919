"""A training's curves, as its worker wrote them and with the scores of its snapshots."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from engine.records import paths
from engine.records.tables import CURVES
from engine.records.units import Selection
from orchestrator.storage.store import Store

CurveRow = tuple[float, str, float]
"""(kimg, name, value)"""


def curve_table(train_id: str, rows: list[CurveRow]) -> pa.Table:
    """Rows of one training as a table [CURVES]."""
    kimg = [row[0] for row in rows]
    names = [row[1] for row in rows]
    values = [row[2] for row in rows]
    return pa.table([[train_id] * len(rows), kimg, names, values], schema=CURVES)


def training_curves(train_id: str, selection_id: str, store: Store) -> pa.Table:
    """A finished training's curves and, beside them, each snapshot's score under the sweep's protocol."""
    folder = store.training(train_id)
    choice = folder.read_record(paths.selection(selection_id), Selection)
    written = folder.read(paths.CURVES)
    if choice is None or written is None:
        raise FileNotFoundError(f"{store.shown}/{paths.training_folder(train_id)} is not complete")
    scores = [(images / 1000, f"selection/{choice.metric}", value) for images, value in choice.scores]
    return pa.concat_tables([pq.read_table(io.BytesIO(written)), curve_table(train_id, scores)])


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as the bytes of a Parquet file; the same rows give the same bytes."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()
