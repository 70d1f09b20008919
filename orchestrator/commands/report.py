"""`orch report`: build a sweep's report again from its tables."""

from pathlib import Path
from typing import Annotated

import typer

NAME = "report"


def command(
    folder: Annotated[
        Path, typer.Argument(help="A sweep's folder, for example runs/sweeps/quickstart.", show_default=False)
    ],
) -> None:
    """Write report.html, report.md and the tables from results.parquet. Needs no Ray, torch or MLflow.

    Example: orch report runs/sweeps/quickstart
    """
    from orchestrator.errors import UsageError
    from orchestrator.results.older_tables import complete_tables
    from orchestrator.storage.store import Store
    from reports.build import build_report
    from reports.errors import ReportError

    sweep = folder.resolve()
    complete_tables(Store.open(sweep).root)
    try:
        path = build_report(sweep, sweep.parent.parent)
    except ReportError as error:
        raise UsageError(str(error)) from None
    typer.echo(f"report: {path}")
