"""MLflow: a mirror of the store, never the truth. It can be deleted and rebuilt at any time.

One experiment a sweep; in it one parent run, a child for each training and one for each cell. Runs are found
again by the tag `orch.unit`, so mirroring twice, or after a kill, changes nothing and duplicates nothing.
"""

from dataclasses import dataclass, field

from engine.records import paths
from engine.records.units import CellDone, CellRecord, Selection, TrainingDone
from orchestrator.planning.cell import Cell
from orchestrator.planning.plan import Plan
from orchestrator.planning.training import Training
from orchestrator.storage.store import Folder, Store
from orchestrator.tracking.connection import connect, experiment_of
from orchestrator.tracking.runs import SweepRuns
from orchestrator.tracking.unit_facts import (
    cell_metrics,
    cell_params,
    curve_metrics,
    selection_metrics,
    training_params,
)

SWEEP = "sweep"
"""The unit that the parent run is of."""


@dataclass
class Mirror:
    """Keeps one sweep's MLflow experiment equal to the store."""

    plan: Plan
    """May be replaced while mirroring: a search's plan grows."""
    store: Store
    runs: SweepRuns = field(init=False)
    """Set by `open`."""

    def open(self) -> None:
        """Find or create the experiment and the sweep's parent run, and learn what is mirrored already."""
        client = connect(self.store)
        experiment = experiment_of(client, self.plan.sweep.output_name, self.store)
        self.runs = SweepRuns(client, experiment)
        self.runs.find()
        self._open_parent()

    def update(self) -> None:
        """Mirror what has changed in the store since the last call."""
        for unit in self.plan.trainings:
            if not self.runs.is_finished(unit.train_id):
                self._mirror_training(unit)
        for cell in self.plan.cells:
            if not self.runs.is_finished(cell.cell_id):
                self._mirror_cell(cell)

    def close(self, status: str) -> None:
        """Mirror the end state: no run is left RUNNING. `status` is FINISHED, FAILED or KILLED."""
        self.update()
        for unit in self.runs.ids:
            if unit == SWEEP or self.runs.is_finished(unit):
                continue
            # Only a training's run begins before its work is over, so what is left is a training.
            failed = self.store.training(unit).exists(paths.FAILED)
            self.runs.end(unit, "FAILED" if failed else "KILLED")
        self.runs.end(SWEEP, status)

    def _open_parent(self) -> None:
        """The sweep's run, with the grid as an artifact; open while the sweep is."""
        sweep = self.plan.sweep
        tags = {
            "orch.kind": "sweep",
            "orch.sweep": sweep.output_name,
            "orch.recipe": sweep.grid.recipe,
            "orch.varies": sweep.grid.varies,
        }
        run_id = self.runs.run_of(SWEEP, f"sweep {sweep.output_name}", tags)
        self.runs.client.update_run(run_id, status="RUNNING")
        self.runs.log_text(run_id, sweep.source, paths.GRID)

    def _child_tags(self, kind: str) -> dict[str, str]:
        return {
            "orch.kind": kind,
            "orch.sweep": self.plan.sweep.output_name,
            "mlflow.parentRunId": self.runs.ids[SWEEP],
        }

    def _mirror_training(self, unit: Training) -> None:
        """Create the run once training has begun, then add the curve rows it lacks."""
        folder = self.store.training(unit.train_id)
        if not folder.exists(paths.SPEC):
            return
        done = folder.read_record(paths.DONE, TrainingDone)
        choice = folder.read_record(paths.selection(unit.selection_id), Selection)
        run_id = self.runs.run_of(unit.train_id, f"train {unit.label}", self._child_tags("train"), done)
        last = self.runs.mirrored_kimg(unit.train_id)
        curves = curve_metrics(folder.read(paths.CURVES))
        # Rows at `last` are sent again: one may have been added there since. MLflow drops those it has.
        fresh = [row for row in curves if row.kimg >= last]
        params = training_params(unit)
        if done is None or choice is None:
            reached = max((row.kimg for row in curves), default=last)
            self.runs.log_until(unit.train_id, run_id, fresh, params, reached)
            return
        self.runs.log(run_id, [*fresh, *selection_metrics(choice)], params)
        last_snapshot, _ = choice.scores[-1]
        self._log_text(run_id, folder, paths.SPEC)
        self._log_png(run_id, folder, paths.snapshot_panel(last_snapshot))
        self.runs.finish(unit.train_id, done)

    def _mirror_cell(self, cell: Cell) -> None:
        """Create the run of a finished cell, with all that was measured."""
        folder = self.store.cell(cell.cell_id)
        done = folder.read_record(paths.DONE, CellDone)
        record = folder.read_record(paths.CELL, CellRecord)
        if done is None or record is None:
            return
        tags = {
            **self._child_tags("cell"),
            "orch.training": cell.training.train_id,
            "orch.sampler": cell.experiment.sample.kind,
        }
        run_id = self.runs.run_of(cell.cell_id, cell.label, tags, done)
        self.runs.log(run_id, cell_metrics(record), cell_params(cell))
        self._log_png(run_id, folder, paths.CELL_PANEL)
        self.runs.finish(cell.cell_id, done)

    def _log_text(self, run_id: str, folder: Folder, name: str) -> None:
        text = folder.read(name)
        if text:
            self.runs.log_text(run_id, text.decode(), name)

    def _log_png(self, run_id: str, folder: Folder, name: str) -> None:
        """A unit's picture under one name, so that MLflow shows all of them side by side."""
        picture = folder.read(name)
        if picture:
            self.runs.log_png(run_id, picture, paths.CELL_PANEL)
