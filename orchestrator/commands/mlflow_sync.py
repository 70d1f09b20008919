"""`orch mlflow-sync`: rebuild a sweep's MLflow runs from the store."""

import typer

from orchestrator.commands.options import DEFAULT_STORAGE, GridPath, Smoke, StoragePath

NAME = "mlflow-sync"


def command(grid: GridPath, storage: StoragePath = DEFAULT_STORAGE, smoke: Smoke = False) -> None:
    """Make MLflow equal to the store: missing runs appear, none is duplicated, none is left running.

    Example: orch mlflow-sync grids/quickstart.yaml
    """
    from orchestrator.execution.mirroring import mirror_now
    from orchestrator.execution.storage_lock import storage_lock
    from orchestrator.grid import load_sweep
    from orchestrator.search.current_plan import current_plan
    from orchestrator.storage.provenance import redacted
    from orchestrator.storage.store import Store
    from orchestrator.tracking.connection import tracking_uri
    from reports.formatting import counted

    sweep = load_sweep(grid, smoke=smoke)
    store = Store.open(storage)
    with storage_lock(store):
        plan = current_plan(sweep, store)
        mirror_now(plan, store)
    cells = counted(len(plan.cells) - len(plan.missing_cells), "cell")
    trainings = counted(len(plan.trainings) - len(plan.missing_trainings), "training")
    typer.echo(f"{cells} and {trainings} are in {redacted(tracking_uri(store))}")
