"""`orch mlflow-sync`: rebuild a sweep's MLflow runs from the store."""

import typer

from orchestrator.commands.options import DEFAULT_STORAGE, GridPath, Smoke, StoragePath

NAME = "mlflow-sync"


def command(grid: GridPath, storage: StoragePath = DEFAULT_STORAGE, smoke: Smoke = False) -> None:
    """Make MLflow equal to the store: missing runs appear, none is duplicated, none is left running.

    Example: orch mlflow-sync grids/quickstart.yaml
    """
    from orchestrator.grid import expand, load_sweep
    from orchestrator.plan import make_plan
    from orchestrator.provenance import redacted
    from orchestrator.session import storage_lock
    from orchestrator.store import Store
    from orchestrator.sweeping import mirror_now
    from orchestrator.tracking import tracking_uri

    sweep, store = load_sweep(grid, smoke=smoke), Store.open(storage)
    with storage_lock(store):
        plan = make_plan(sweep, expand(sweep), store)
        mirror_now(plan, store)
    done = len(plan.cells) - len(plan.missing_cells)
    where = redacted(tracking_uri(store))
    typer.echo(
        f"{done} cells and {len(plan.trainings) - len(plan.missing_trainings)} trainings are in {where}"
    )
