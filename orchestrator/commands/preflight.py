"""What `orch sweep` asks before it starts: is anything left to do, and can it end well here?"""

from pathlib import Path

from orchestrator.execution.cluster import cluster_address
from orchestrator.execution.options import Options
from orchestrator.grid import Sweep
from orchestrator.planning.preflight import Surroundings, refuse_hopeless
from orchestrator.planning.speed import speed_of
from orchestrator.search.current_plan import current_plan, is_complete, whole_plan
from orchestrator.storage.speeds import read_speeds


def refuse_hopeless_sweep(sweep: Sweep, options: Options, grid: Path, *, force: bool) -> None:
    """UsageError when the data set is not there, or when this machine would need more than a day without
    `force`; PluginError when a package's table cannot be used.

    A sweep that is complete is never refused: nothing of it would run.
    """
    store = options.store
    whole = whole_plan(sweep, store)
    asked = current_plan(sweep, store) if sweep.is_search else whole
    if is_complete(asked, store.sweep(sweep.output_name)):
        return
    load_kinds_of_reports()
    on_cluster = cluster_address(options.address) is not None
    around = Surroundings(grid, options.data_root, on_cluster, force)
    refuse_hopeless(whole, speed_of(sweep, read_speeds(store)), around)


def load_kinds_of_reports() -> None:
    """PluginError for a table that a package offers and that cannot be used:
    said now, and not by the report at the end of a sweep of days."""
    import reports.tables.registry  # noqa: F401 - importing it loads every table
