"""Refuse to start what cannot end well: a missing data set, or days of work on a laptop."""

import math
from pathlib import Path

from engine.data.catalog import missing_files
from orchestrator.console.progress import clock
from orchestrator.errors import UsageError
from orchestrator.execution.driver import Options, current_plan, is_complete
from orchestrator.execution.ray_session import cluster_address
from orchestrator.grid import Sweep, expand
from orchestrator.planning.cost import place_for, plan_seconds, search_share, speed_of, trained_share
from orchestrator.planning.plan import counted, make_plan

HOPELESS_SECONDS = 24 * 3600


def refuse_hopeless(sweep: Sweep, options: Options, grid: Path, *, force: bool) -> None:
    """UsageError when the data set is not there, or when this machine would need more than a day without
    `force`."""
    plan = make_plan(sweep, expand(sweep), options.store)
    asked = current_plan(sweep, options.store) if sweep.is_search else plan
    if is_complete(asked, options.store.sweep(sweep.output_name)):
        return
    data, place = plan.sweep.anchor.data.name, place_for(sweep.grid.resources)
    seconds = plan_seconds(plan, speed_of(sweep, options.store), place.slots)
    trainings = math.ceil(trained_share(sweep) * len(plan.missing_trainings))
    cells = math.ceil(search_share(sweep) * len(plan.missing_cells))
    units = f"{counted(trainings, 'training')} and {counted(cells, 'cell')}"
    cost = f"this sweep is {units}, about {clock(seconds)} on {place.words}"
    hint = "" if sweep.smoke else f"\ntry it small first: orch sweep {grid} --smoke"
    absent = missing_files(data, options.data_root)
    if absent:
        where = options.data_root or "no data root given"
        raise UsageError(
            f"the data set {data} is not there ({where}: {', '.join(absent[:3])} missing); "
            f"give its folder with --data-root or ORCH_DATA_ROOT\n{cost}{hint}"
        )
    if cluster_address(options.address):
        return
    if not place.here:
        raise UsageError(f"{cost}\nuse a cluster (--address), or change `resources`{hint}")
    if seconds > HOPELESS_SECONDS and not force:
        raise UsageError(f"{cost}\nuse a cluster (--address), or --yes to start anyway{hint}")
