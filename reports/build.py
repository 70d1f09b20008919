"""From a sweep's folder to its report."""

import io
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from engine.records import paths
from reports.document.compose import Document, Picture, compose
from reports.read.sweep import read_sweep
from reports.render import html, markdown
from reports.render.csv import csv_text
from reports.tables.table import Table

SHOWN_PIXELS = 640
"""Width that sample grids beside the Markdown are enlarged towards, by whole factors: square pixels."""


def build_report(sweep_folder: Path, storage: Path) -> Path:
    """Write `<sweep_folder>/report/` and return the path of its report.html.

    The folder appears whole or not at all, and the same inputs give the
    same bytes. Raises ReportError when the sweep's files are missing, empty
    or malformed, or when its rows were measured under different protocols.
    """
    document = compose(read_sweep(sweep_folder, storage))
    target = sweep_folder / paths.REPORT
    draft = sweep_folder / ".report.partial"
    shutil.rmtree(draft, ignore_errors=True)
    for folder in ("tables", "figures"):
        (draft / folder).mkdir(parents=True)
    _write(document, draft)
    shutil.rmtree(target, ignore_errors=True)
    draft.rename(target)
    return target / "report.html"


def _write(document: Document, folder: Path) -> None:
    (folder / "report.html").write_text(html.render(document), encoding="utf-8")
    (folder / "report.md").write_text(markdown.render(document), encoding="utf-8")
    trainings = document.what_ran.trainings
    for table in (*document.tables, *([trainings] if trainings else [])):
        _write_table(table, folder / "tables")
    for figure in document.figures:
        (folder / "figures" / f"{figure.name}.png").write_bytes(figure.png)
    for panel in document.panels:
        (folder / "figures" / f"{panel.name}.png").write_bytes(_enlarged(panel))


def _write_table(table: Table, folder: Path) -> None:
    (folder / f"{table.name}.csv").write_text(csv_text(table.frame), encoding="utf-8", newline="")
    pq.write_table(pa.Table.from_pandas(table.frame, preserve_index=False), folder / f"{table.name}.parquet")


def _enlarged(panel: Picture) -> bytes:
    with Image.open(io.BytesIO(panel.png)) as image:
        factor = max(1, SHOWN_PIXELS // image.width)
        larger = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
        buffer = io.BytesIO()
        larger.save(buffer, format="PNG")
    return buffer.getvalue()
