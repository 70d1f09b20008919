"""`orch plan`: what a sweep would do, before anything is spent."""

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

NAME = "plan"

Calibrate = Annotated[
    bool,
    typer.Option("--calibrate", help="Time 3 forward passes of each network first, for a better estimate."),
]


def command(
    grid: GridPath,
    storage: StoragePath = DEFAULT_STORAGE,
    smoke: Smoke = False,
    data_root: DataRoot = None,
    calibrate: Calibrate = False,
) -> None:
    """Show cells, trainings, what is cached and why, what collapsed, network evaluations and time.
    Starts nothing.

    With --calibrate the speed of sampling is measured on this machine, and remembered in the storage.

    Example: orch plan grids/edm_stochastic.yaml --smoke
    """
    from orchestrator.console.plan_view import show_plan
    from orchestrator.grid import load_sweep
    from orchestrator.planning.speed import speed_of
    from orchestrator.search.current_plan import whole_plan
    from orchestrator.storage.speeds import read_speeds, write_speeds
    from orchestrator.storage.store import Store

    sweep = load_sweep(grid, smoke=smoke)
    store = Store.open(storage)
    plan = whole_plan(sweep, store)
    if calibrate:
        from orchestrator.planning.calibration import calibrate as measure_speeds

        write_speeds(store, measure_speeds(plan, read_speeds(store)))
    speed = speed_of(sweep, read_speeds(store))
    show_plan(plan, speed, data_root, make_console())
