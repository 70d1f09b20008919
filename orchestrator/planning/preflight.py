"""Refuse to start what cannot end well: a missing data set, missing weights, or days of work on a laptop."""

import math
from dataclasses import dataclass
from pathlib import Path

from engine.data.catalog import missing_files
from engine.metrics.extractors.registry import EXTRACTORS
from orchestrator.errors import UsageError
from orchestrator.formatting import clock
from orchestrator.grid import Sweep
from orchestrator.planning.duration import plan_seconds, search_share, trained_share
from orchestrator.planning.machine import Place, place_for
from orchestrator.planning.plan import Plan
from orchestrator.planning.speed import Speed
from reports.formatting import counted

HOPELESS_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Surroundings:
    """What a sweep would run with."""

    grid: Path
    """The grid's file, for advice."""
    data_root: Path | None
    on_cluster: bool
    """Whether a Ray cluster does the work, and not this machine."""
    force: bool
    """Whether the user wants to start even days of work here."""


def refuse_hopeless(whole: Plan, speed: Speed, around: Surroundings) -> None:
    """UsageError when data or extractor weights are missing, or, without `force`, for days of work here.

    `whole` is the plan of the grid with something left to do; of a search it has every point, and the
    search's share of it is judged.
    """
    sweep = whole.sweep
    data_name = sweep.anchor.data.name
    place = place_for(sweep.grid.resources)
    seconds = plan_seconds(whole, speed, place.slots)
    cost = cost_words(whole, seconds, place)
    hint = "" if sweep.smoke else f"\ntry it small first: orch sweep {around.grid} --smoke"
    absent = missing_files(data_name, around.data_root)
    if absent:
        where = around.data_root or "no data root given"
        raise UsageError(
            f"the data set {data_name} is not there ({where}: {', '.join(absent[:3])} missing); "
            f"give its folder with --data-root or ORCH_DATA_ROOT\n{cost}{hint}"
        )
    if around.on_cluster:
        return
    if lacking := absent_weights(sweep):
        raise UsageError(f"{lacking}\n{cost}{hint}")
    if not place.here:
        raise UsageError(f"{cost}\nuse a cluster (--address), or change `resources`{hint}")
    if seconds > HOPELESS_SECONDS and not around.force:
        raise UsageError(f"{cost}\nuse a cluster (--address), or --yes to start anyway{hint}")


def absent_weights(sweep: Sweep) -> str | None:
    """What to say when the extractor's weights are missing here; None when they are there, or fetched."""
    name = sweep.anchor.eval.extractor
    weights = EXTRACTORS[name].weights
    problem = weights.problem() if weights else None
    return f"the weights of the extractor {name} are missing: {problem}" if problem else None


def cost_words(whole: Plan, seconds: float, place: Place) -> str:
    """What a sweep is and takes, in words."""
    trainings = math.ceil(trained_share(whole.sweep) * len(whole.missing_trainings))
    cells = math.ceil(search_share(whole.sweep) * len(whole.missing_cells))
    units = f"{counted(trainings, 'training')} and {counted(cells, 'cell')}"
    return f"this sweep is {units}, about {clock(seconds)} on {place.words}"
