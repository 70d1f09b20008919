"""The missing units of a plan on Ray, under one live view; a search asks for its own."""

from typing import TYPE_CHECKING

from orchestrator.console.progress import Progress
from orchestrator.execution.draining import Draining, drain_on_interrupt
from orchestrator.execution.options import Options
from orchestrator.execution.ray_session import ray_session
from orchestrator.grid import Point
from orchestrator.planning.duration import group_predictions, training_seconds
from orchestrator.planning.machine import place_for
from orchestrator.planning.plan import Plan
from orchestrator.planning.speed import speed_of
from orchestrator.search.batched import run_batches, varies_samplers_alone
from orchestrator.search.coordinate import is_coordinate, run_lines
from orchestrator.search.current_plan import current_plan, plan_of
from orchestrator.storage.speeds import read_speeds
from orchestrator.storage.store import Folder, Store
from reports.formatting import counted

if TYPE_CHECKING:
    from orchestrator.execution.job import Job


def run_plan(plan: Plan, options: Options, folder: Folder) -> None:
    """Run the missing units on Ray under one live view."""
    sweep = plan.sweep
    store = options.store
    resources = plan.sweep.grid.resources
    options.console.print(f"{sweep.grid.name}: {work_words(plan)}", highlight=False)
    slots = place_for(resources).slots
    progress = Progress(
        options.console,
        folder,
        predicted_seconds(plan, store),
        slots={"train": max(1, slots // resources.workers), "sample": slots},
        trainings=frozenset(unit.train_id for unit in plan.missing_trainings),
    )
    data_root = str(options.data_root) if options.data_root else None
    with ray_session(store, options.address), progress:
        from orchestrator.execution.job import Job
        from orchestrator.execution.run_units import run_missing

        job = Job(store, resources, data_root, progress, Draining())
        with drain_on_interrupt(job.draining, options.console.print):
            if sweep.is_search:
                run_search(plan, job, folder)
            else:
                run_missing(plan, job)


def work_words(plan: Plan) -> str:
    """What is to run and what is not, in words."""
    trainings = counted(len(plan.missing_trainings), "training")
    cells = counted(len(plan.missing_cells), "cell")
    return f"{trainings} and {cells} to run, {counted(len(plan.finished_cells), 'cell')} cached"


def predicted_seconds(plan: Plan, store: Store) -> dict[str, float]:
    """Predicted seconds of every missing unit, by its identity."""
    speed = speed_of(plan.sweep, read_speeds(store))
    trainings = {
        unit.train_id: training_seconds(unit, plan.training_state(unit), speed)
        for unit in plan.missing_trainings
    }
    return trainings | group_predictions(plan.missing_groups, speed)


def run_search(plan: Plan, job: "Job", folder: Folder) -> None:
    """Run a search: axis by axis, or Optuna's proposals, samplers in batches and trainings one by one.

    What failed or was stopped in an earlier run is part of `plan` and comes first;
    what fails now waits for the next.
    """
    from orchestrator.execution.run_units import run_missing
    from orchestrator.execution.tuned_search import run_tuned_search

    sweep = plan.sweep

    def run(points: tuple[Point, ...]) -> None:
        run_missing(plan_of(sweep, points, job.store), job)

    if is_coordinate(sweep):
        run_missing(plan, job)
        run_lines(sweep, job.store, run)
    elif varies_samplers_alone(sweep):
        run_batches(sweep, job.store, folder, run)
    else:
        run_tuned_search(sweep, job, folder)
        run_missing(current_plan(sweep, job.store), job)  # the rest of the panel and of the seeds
