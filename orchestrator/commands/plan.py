"""`orch plan`: what a sweep would do, before anything is spent."""

from orchestrator.commands.options import DEFAULT_STORAGE, DataRoot, GridPath, Smoke, StoragePath, make_console

NAME = "plan"


def command(
    grid: GridPath, storage: StoragePath = DEFAULT_STORAGE, smoke: Smoke = False, data_root: DataRoot = None
) -> None:
    """Show cells, trainings, what is cached and why, what collapsed, network evaluations and time. Starts nothing.

    Example: orch plan grids/edm_stochastic.yaml --smoke
    """
    from orchestrator.grid import expand, load_sweep
    from orchestrator.plan import make_plan
    from orchestrator.plan_view import show_plan
    from orchestrator.store import Store

    sweep, store = load_sweep(grid, smoke=smoke), Store.open(storage)
    show_plan(make_plan(sweep, expand(sweep), store), store, data_root, make_console())
