"""`orch sweep`: run what is missing, then bring tables, MLflow and the report up to date."""

from functools import partial
from typing import Annotated

import typer

from orchestrator.commands.options import (
    DEFAULT_STORAGE,
    DataRoot,
    GridPath,
    Smoke,
    StoragePath,
    make_console,
)

NAME = "sweep"

Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="Ray cluster to use (RAY_ADDRESS is honoured too); default: this machine.",
        show_default=False,
    ),
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Start even when the plan predicts more than a day here.")
]
Confirm = Annotated[
    int,
    typer.Option(
        "--confirm",
        min=0,
        help=(
            "Then measure the best N configurations again at the papers' protocol: 50,000 "
            "images, three sets of them on fresh latents, as a sweep called NAME-full."
        ),
    ),
]


def command(
    grid: GridPath,
    storage: StoragePath = DEFAULT_STORAGE,
    smoke: Smoke = False,
    data_root: DataRoot = None,
    address: Address = None,
    yes: Yes = False,
    confirm: Confirm = 0,
) -> None:
    """Train, sample, measure and report everything in the grid whose result is missing.

    Run it again to go on after a stop, to retry failures, or after adding values to an axis: only what is
    missing runs. Ctrl-C once lets running units reach their next checkpoint; twice stops at once.

    Example: orch sweep grids/quickstart.yaml
    """
    from orchestrator.commands.preflight import refuse_hopeless_sweep
    from orchestrator.execution.confirm import run_and_confirm
    from orchestrator.execution.driver import run_sweep
    from orchestrator.execution.options import Options
    from orchestrator.grid import load_sweep
    from orchestrator.storage.store import Store

    sweep = load_sweep(grid, smoke=smoke)
    store = Store.open(storage)
    options = Options(store, data_root, address, make_console(stderr=True))
    refuse_hopeless_sweep(sweep, options, grid, force=yes)
    if confirm:
        check = partial(refuse_hopeless_sweep, options=options, grid=grid, force=yes)
        sweep, report = run_and_confirm(sweep, options, confirm, check)
    else:
        report = run_sweep(sweep, options)
    typer.echo(f"results: {store.shown}/sweeps/{sweep.output_name}")
    if report:
        typer.echo(f"report:  {report}")
    typer.echo(
        f"next:    orch ui{'' if storage == DEFAULT_STORAGE else f' --storage {storage}'}   "
        "(MLflow, side by side)"
    )
