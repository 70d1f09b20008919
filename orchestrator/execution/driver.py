"""One `orch sweep`: plan, run what is missing, collect, mirror, report."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from orchestrator.console.progress import Progress
from orchestrator.errors import UnitsFailed
from orchestrator.execution.collect import collect, unit_failures
from orchestrator.execution.ray_session import ray_session, storage_lock
from orchestrator.grid import Point, Sweep, expand
from orchestrator.planning.cost import cell_predictions, place_for, remember_speed, speed_of, training_seconds
from orchestrator.planning.plan import MEASURED_SECTIONS, TRAINED_SECTIONS, Plan, counted, make_plan
from orchestrator.search.coordinate import asked_points, is_coordinate, run_lines
from orchestrator.storage.provenance import command_line, redacted
from orchestrator.storage.store import Folder, Store

if TYPE_CHECKING:
    from orchestrator.execution.run_units import Job
    from orchestrator.tracking.mlflow_mirror import LiveMirror

MIRRORED = "mirrored.json"


@dataclass(frozen=True)
class Options:
    """What the command line adds to a grid file."""

    store: Store
    data_root: Path | None
    address: str | None
    console: Console


def current_plan(sweep: Sweep, store: Store) -> Plan:
    """The plan of the whole grid, or of the points a search has proposed so far."""
    if not sweep.is_search:
        return make_plan(sweep, expand(sweep), store)
    if is_coordinate(sweep):
        return make_plan(sweep, asked_points(sweep, store), store)
    from orchestrator.search.proposals import Proposals

    return make_plan(sweep, Proposals(sweep, store.sweep(sweep.output_name)).points(), store)


def is_complete(plan: Plan, folder: Folder) -> bool:
    """Whether nothing is left to run: no unit is missing and a search has had all its trials."""
    if plan.missing_trainings or plan.missing_cells:
        return False
    if is_coordinate(plan.sweep):
        return True  # a plan of all that was asked, with nothing missing, is that of a walk that is over
    from orchestrator.search.proposals import Proposals

    search = plan.sweep.grid.search
    return search is None or len(Proposals(plan.sweep, folder).tried()) >= search.num_trials


def run_sweep(sweep: Sweep, options: Options) -> Path | None:
    """Do the units whose result is missing and bring tables, MLflow and the report up to date; returns the
    report.

    Raises UnitsFailed when some units failed, Interrupted when stopped, StorageBusy when another driver is at
    work.
    """
    store, folder = options.store, options.store.sweep(sweep.output_name)
    with storage_lock(store):
        before = current_plan(sweep, store)
        folder.write("grid.yaml", sweep.source.encode())
        folder.write_json("plan.json", plan_record(before))
        if is_complete(before, folder):
            return finish(before, before, options, mirror=None)
        from orchestrator.tracking.mlflow_mirror import LiveMirror, Mirror

        mirror = LiveMirror(Mirror(before, store))
        mirror.start()
        stopped = True
        try:
            run_plan(before, options, folder)
            stopped = False
        finally:
            after = current_plan(sweep, store)
            folder.write_json("plan.json", plan_record(after))
            mirror.mirror.plan = after
            mirror.finish("KILLED" if stopped else "FINISHED" if is_complete(after, folder) else "FAILED")
            report = finish(before, after, options, mirror)
        raise_for_failures(after, store)
        return report


def run_plan(plan: Plan, options: Options, folder: Folder) -> None:
    """Run the missing units on Ray under one live view."""
    sweep, store, resources = plan.sweep, options.store, plan.sweep.grid.resources
    speed = speed_of(sweep, store)
    predicted = {
        unit.train_id: training_seconds(unit, plan.training_state(unit), speed)
        for unit in plan.missing_trainings
    }
    predicted |= cell_predictions(plan.missing_cells, speed)
    cached = len(plan.cells) - len(plan.missing_cells)
    trainings, cells = (
        counted(len(plan.missing_trainings), "training"),
        counted(len(plan.missing_cells), "cell"),
    )
    todo = f"{trainings} and {cells} to run, {counted(cached, 'cell')} cached"
    options.console.print(f"{sweep.grid.name}: {todo}", highlight=False)
    slots = place_for(resources).slots
    at_once = {"train": max(1, slots // resources.workers), "sample": slots}
    data_root = str(options.data_root) if options.data_root else None
    with (
        ray_session(store, options.address),
        Progress(
            options.console,
            folder,
            predicted,
            at_once,
            frozenset(unit.train_id for unit in plan.missing_trainings),
        ) as progress,
    ):
        from orchestrator.execution.run_units import Job, drain_on_interrupt, run_missing
        from orchestrator.execution.unit_queue import Draining

        job = Job(store, resources, data_root, progress, Draining())
        with drain_on_interrupt(job.draining, options.console.print):
            if sweep.is_search:
                search(plan, job, folder)
            else:
                run_missing(plan, job)


def search(plan: Plan, job: "Job", folder: Folder) -> None:
    """Run a search: axis by axis, or Optuna's proposals, samplers in batches and trainings one by one.

    What failed in an earlier run, or was stopped, is part of `plan` and comes first; what fails now waits for
    the next.
    """
    from orchestrator.execution.run_units import run_missing
    from orchestrator.search.batched import run_batches, varies_samplers_alone
    from orchestrator.search.optuna_search import run_search

    sweep = plan.sweep

    def run(points: tuple[Point, ...]) -> None:
        run_missing(make_plan(sweep, points, job.store), job)

    if is_coordinate(sweep):
        run_missing(plan, job)
        run_lines(sweep, job.store, run)
    elif varies_samplers_alone(sweep):
        run_batches(sweep, job.store, folder, run)
    else:
        run_search(sweep, job, folder)
        run_missing(current_plan(sweep, job.store), job)  # the rest of the panel and of the seeds


def finish(before: Plan, after: Plan, options: Options, mirror: "LiveMirror | None") -> Path | None:
    """Tables, MLflow's last word and the report, each only when something has changed."""
    store, folder = options.store, options.store.sweep(after.sweep.output_name)
    ran = newly_finished(before, after)
    changed = collect(after, store, folder, command=command_line(), ran=ran)
    remember_speed(before, after, store)
    if mirror is None and (changed or not mirror_is_current(after, store, folder)):
        mirror_now(after, store)
    if mirror is not None and mirror.error is not None:
        options.console.print(
            f"MLflow could not be updated ({redacted(str(mirror.error))}); orch mlflow-sync does it later",
            highlight=False,
            markup=False,
        )
    else:
        folder.write_json(MIRRORED, mirror_mark(after))
    if len(after.missing_cells) == len(after.cells):
        return None
    return build_report_if_new(store, folder, changed)


def newly_finished(before: Plan, after: Plan) -> dict[str, int]:
    """How many trainings and cells were finished between two plans; a search's later plan has more units."""
    units = {
        "trainings": ready_units(after) - ready_units(before),
        "cells": done_cells(after) - done_cells(before),
    }
    return {kind: len(identities) for kind, identities in units.items()}


def ready_units(plan: Plan) -> set[str]:
    """Trainings that need nothing more."""
    return {unit.train_id for unit in plan.ready_trainings}


def done_cells(plan: Plan) -> set[str]:
    """Finished cells."""
    return {cell.cell_id for cell in plan.cells if cell.done_file in plan.finished}


def build_report_if_new(store: Store, folder: Folder, changed: bool) -> Path | None:
    """Path of the report; built only when the tables changed or it is not there. None on remote storage."""
    if store.local_path is None:
        return None
    path = Path(folder.path)
    if changed or not folder.exists("report/report.html"):
        from reports.build import build_report

        return build_report(path, store.local_path)
    return path / "report" / "report.html"


def mirror_now(plan: Plan, store: Store) -> None:
    """Mirror a sweep's end state at once."""
    from orchestrator.tracking.mlflow_mirror import Mirror

    mirror = Mirror(plan, store)
    mirror.open()
    mirror.close("FAILED" if plan.missing_cells else "FINISHED")


def mirror_mark(plan: Plan) -> dict[str, list[str]]:
    """What MLflow holds when it equals the store."""
    return {"cells": sorted(done_cells(plan))}


def mirror_is_current(plan: Plan, store: Store, folder: Folder) -> bool:
    """Whether the last mirroring saw these cells and its database is still there."""
    from orchestrator.tracking.mlflow_mirror import tracking_uri

    uri = tracking_uri(store)
    gone = uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists()
    return not gone and folder.read_json(MIRRORED) == mirror_mark(plan)


def plan_record(plan: Plan) -> dict[str, object]:
    """The plan as JSON: every unit with its identity, configuration and state."""
    return {
        "sweep": plan.sweep.grid.name,
        "points": plan.num_points,
        "trainings": [
            {
                "train_id": unit.train_id,
                "selection_id": unit.selection_id,
                "axes": unit.axes,
                "label": unit.label,
                "state": plan.training_state(unit),
                "experiment": unit.experiment.model_dump(mode="json", include=set(TRAINED_SECTIONS)),
            }
            for unit in plan.trainings
        ],
        "cells": [
            {
                "cell_id": cell.cell_id,
                "train_id": cell.training.train_id,
                "label": cell.label,
                "points": list(cell.points),
                "reasons": list(cell.reasons),
                **cell.experiment.model_dump(mode="json", include=set(MEASURED_SECTIONS)),
            }
            for cell in plan.cells
        ],
    }


def raise_for_failures(plan: Plan, store: Store) -> None:
    """UnitsFailed when units of the plan are missing after a run."""
    missing = len(plan.missing_trainings) + len(plan.missing_cells)
    if missing:
        failures = unit_failures(plan, store)
        listed = "".join(f"\n  {failure['unit']}: {failure['message']}" for failure in failures[:10])
        raise UnitsFailed(
            f"{missing} units are missing, {len(failures)} of them failed; the same command tries them again{listed}"
        )
