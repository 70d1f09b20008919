"""A sweep's plan against the store: of the whole grid, or of what its search has asked for so far."""

from collections.abc import Iterable

from orchestrator.grid import Point, Sweep, expand
from orchestrator.planning.make_plan import make_plan
from orchestrator.planning.plan import Plan
from orchestrator.search.coordinate import asked_points, is_coordinate
from orchestrator.search.proposals import Proposals
from orchestrator.storage.store import Folder, Store


def plan_of(sweep: Sweep, points: Iterable[Point], store: Store) -> Plan:
    """The plan of some points of a sweep, with what the store holds of it as finished."""
    plan = make_plan(sweep, points)
    return plan.with_finished(store.finished(plan.files))


def whole_plan(sweep: Sweep, store: Store) -> Plan:
    """The plan of every point of the grid, also of those that a search may never ask for."""
    return plan_of(sweep, expand(sweep), store)


def current_plan(sweep: Sweep, store: Store) -> Plan:
    """The plan of the whole grid, or of the points a search has asked for so far."""
    if not sweep.is_search:
        return whole_plan(sweep, store)
    if is_coordinate(sweep):
        return plan_of(sweep, asked_points(sweep, store), store)
    return plan_of(sweep, Proposals(sweep, store.sweep(sweep.output_name)).points(), store)


def is_complete(plan: Plan, folder: Folder) -> bool:
    """Whether nothing is left to run: no unit is missing and a search has had all its trials."""
    if plan.missing_trainings or plan.missing_cells:
        return False
    if is_coordinate(plan.sweep):
        return True  # a plan of all that was asked, with nothing missing, is that of a walk that is over
    search = plan.sweep.grid.search
    return search is None or len(Proposals(plan.sweep, folder).tried()) >= search.num_trials
