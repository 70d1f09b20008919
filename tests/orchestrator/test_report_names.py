"""The names a grid's `report:` may hold are the report's own."""

from typing import get_args

from orchestrator.grid.file import FigureName, TableName
from reports.figures import FIGURES
from reports.tables import TABLES


def test_grid_files_know_every_table_and_figure() -> None:
    assert list(get_args(TableName)) == list(TABLES)
    assert list(get_args(FigureName)) == list(FIGURES)
