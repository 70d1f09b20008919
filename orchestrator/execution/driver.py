"""One `orch sweep`: plan, run what is missing, collect, mirror, report."""

from pathlib import Path

from engine.records import paths
from orchestrator.execution.finishing import finish, raise_for_failures
from orchestrator.execution.options import Options
from orchestrator.execution.run_plan import run_plan
from orchestrator.execution.storage_lock import storage_lock
from orchestrator.grid import Sweep
from orchestrator.planning.plan_record import plan_record
from orchestrator.search.current_plan import current_plan, is_complete


def run_sweep(sweep: Sweep, options: Options) -> Path | None:
    """Do the units whose result is missing, then bring tables, MLflow and the report up to date.

    Returns the report. Raises UnitsFailed when some units failed, Interrupted when stopped,
    StorageBusy when another driver is at work.
    """
    store = options.store
    folder = store.sweep(sweep.output_name)
    # Under the lock the store changes by this driver's workers alone, so two plans tell what a run has done.
    with storage_lock(store):
        before = current_plan(sweep, store)
        folder.write(paths.GRID, sweep.source.encode())
        folder.write_record(paths.PLAN, plan_record(before))
        if is_complete(before, folder):
            return finish(before, before, options, mirror=None)
        from orchestrator.tracking.live_mirror import LiveMirror
        from orchestrator.tracking.mirror import Mirror

        mirror = LiveMirror(Mirror(before, store))
        mirror.start()
        stopped = True  # until `run_plan` returns by itself
        try:
            run_plan(before, options, folder)
            stopped = False
        finally:
            # Also after Ctrl-C: what is finished is collected, mirrored and reported whatever ended the run.
            after = current_plan(sweep, store)
            folder.write_record(paths.PLAN, plan_record(after))
            mirror.mirror.plan = after
            mirror.finish("KILLED" if stopped else "FINISHED" if is_complete(after, folder) else "FAILED")
            report = finish(before, after, options, mirror)
        raise_for_failures(after, store)
        return report
