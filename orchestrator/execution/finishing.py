"""After the units: tables, MLflow's last word, the report, and an error that names what failed."""

from pathlib import Path
from typing import TYPE_CHECKING

from engine.records import paths
from orchestrator.errors import UnitsFailed
from orchestrator.execution import mirroring
from orchestrator.execution.options import Options
from orchestrator.planning.plan import Plan
from orchestrator.results.collect import collect
from orchestrator.results.manifest import unit_failures
from orchestrator.results.speed import remember_speed
from orchestrator.storage.provenance import command_line, redacted
from orchestrator.storage.store import Folder, Store

if TYPE_CHECKING:
    from orchestrator.tracking.live_mirror import LiveMirror

MAX_FAILURES_SHOWN = 10


def finish(before: Plan, after: Plan, options: Options, mirror: "LiveMirror | None") -> Path | None:
    """Tables, MLflow's last word and the report, each only when something has changed.

    `before` and `after` are the plans on both sides of the run; `mirror` followed it, None when nothing ran.
    Returns the report, None when no cell is finished or the storage is remote.
    """
    store = options.store
    folder = store.sweep(after.sweep.output_name)
    changed = collect(after, store, folder, command=command_line(), ran=newly_finished(before, after))
    remember_speed(before, after, store)
    if mirror is None and (changed or not mirroring.mirror_is_current(after, store, folder)):
        mirroring.mirror_now(after, store)
    if mirror is not None and mirror.error is not None:
        options.console.print(
            f"MLflow could not be updated ({redacted(str(mirror.error))}); orch mlflow-sync does it later",
            highlight=False,
            markup=False,
        )
    else:
        mirroring.remember_mirrored(after, folder)
    if not after.finished_cells:
        return None
    return build_report_if_new(store, folder, changed)


def newly_finished(before: Plan, after: Plan) -> dict[str, int]:
    """How many trainings and cells were finished between two plans; a search's later plan has more units."""
    trained = {unit.train_id for unit in after.ready_trainings} - {
        unit.train_id for unit in before.ready_trainings
    }
    measured = {cell.cell_id for cell in after.finished_cells} - {
        cell.cell_id for cell in before.finished_cells
    }
    return {"trainings": len(trained), "cells": len(measured)}


def build_report_if_new(store: Store, folder: Folder, changed: bool) -> Path | None:
    """Path of the report; built only when the tables changed or it is not there. None on remote storage."""
    if store.local_path is None:
        return None
    path = Path(folder.path)
    if changed or not folder.exists(paths.REPORT_HTML):
        from reports.build import build_report

        return build_report(path, store.local_path)
    return path / paths.REPORT_HTML


def raise_for_failures(plan: Plan, store: Store) -> None:
    """UnitsFailed when units of the plan are missing after a run."""
    missing = len(plan.missing_trainings) + len(plan.missing_cells)
    if not missing:
        return
    failures = unit_failures(plan, store)
    shown = failures[:MAX_FAILURES_SHOWN]
    listed = "".join(f"\n  {failure.unit}: {failure.message}" for failure in shown)
    raise UnitsFailed(
        f"{missing} units are missing, {len(failures)} of them failed; "
        f"the same command tries them again{listed}"
    )
