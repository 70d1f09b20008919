"""The state of a storage's sweeps, read from their plans and the units' DONE files."""

from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.records import paths
from engine.records.plan import PlannedCell, PlannedTraining, PlanRecord
from engine.records.units import UnitFailed
from orchestrator.errors import UsageError
from orchestrator.storage.store import Store

State = Literal["finished", "failed", "missing"]


@dataclass(frozen=True)
class PlannedUnit:
    """A training or cell of a sweep's last plan."""

    entry: PlannedTraining | PlannedCell

    @property
    def kind(self) -> str:
        """What is done to it: "train" or "sample"."""
        return "train" if isinstance(self.entry, PlannedTraining) else "sample"

    @property
    def folder(self) -> str:
        """Its folder, from the storage's root."""
        return self.entry.folder

    @property
    def identity(self) -> str:
        """Its train_id or cell_id."""
        return self.folder.rsplit("/", 1)[1]

    @property
    def needed(self) -> tuple[str, ...]:
        """Files whose presence means that it is finished."""
        return self.entry.needed

    @property
    def failed_file(self) -> str:
        """File that says why it failed."""
        return f"{self.folder}/{paths.FAILED}"


def show_status(store: Store, name: str | None, console: Console) -> None:
    """A line for every sweep, or the units of one."""
    names = planned_sweeps(store)
    if name is not None:
        if name not in names:
            raise UsageError(
                f"no sweep {name!r} in {store.shown}; there are: {', '.join(names) or 'none yet'}"
            )
        return show_units(store, name, console)
    if not names:
        console.print(
            f"no sweeps in {store.shown} yet; start one: orch sweep grids/quickstart.yaml", highlight=False
        )
        return None
    table = Table("sweep", "trainings", "cells", "failed", "report", box=None, header_style="bold")
    for sweep in names:
        trainings, cells, failed = sweep_counts(store, sweep)
        report = "yes" if store.sweep(sweep).exists(paths.REPORT_HTML) else "no"
        table.add_row(sweep, trainings, cells, str(failed), report)
    console.print(table)
    console.print(f"next: orch status SWEEP, or orch report {store.shown}/sweeps/SWEEP", highlight=False)
    return None


def planned_sweeps(store: Store) -> list[str]:
    """Names of the sweeps that have a plan; one that was stopped before it is not worth a word."""
    sweeps = store.root.subfolder(paths.SWEEPS)
    return [name for name in sweeps.folders() if sweeps.exists(f"{name}/{paths.PLAN}")]


def planned_units(store: Store, sweep: str) -> list[PlannedUnit]:
    """Trainings and then cells of the plan that a sweep last ran with."""
    plan = store.sweep(sweep).read_record(paths.PLAN, PlanRecord) or PlanRecord()
    entries: list[PlannedTraining | PlannedCell] = [*plan.trainings, *plan.cells]
    return [PlannedUnit(entry) for entry in entries]


def unit_states(store: Store, units: list[PlannedUnit]) -> list[State]:
    """finished, failed or missing for each unit; what is there is asked for in one request."""
    found = store.finished(file for unit in units for file in (*unit.needed, unit.failed_file))
    return [unit_state(unit, found) for unit in units]


def unit_state(unit: PlannedUnit, found: set[str]) -> State:
    """A unit's state, given which of its files are there."""
    if found.issuperset(unit.needed):
        return "finished"
    return "failed" if unit.failed_file in found else "missing"


def sweep_counts(store: Store, sweep: str) -> tuple[str, str, int]:
    """Finished / all trainings, finished / all cells, and how many units failed."""
    units = planned_units(store, sweep)
    states = unit_states(store, units)
    trainings = [state for unit, state in zip(units, states, strict=True) if unit.kind == "train"]
    cells = [state for unit, state in zip(units, states, strict=True) if unit.kind == "sample"]
    return _finished_of(trainings), _finished_of(cells), states.count("failed")


def _finished_of(states: list[State]) -> str:
    return f"{states.count('finished')} / {len(states)}"


def show_units(store: Store, sweep: str, console: Console) -> None:
    """Every unit of a sweep with its state and, when it failed, why; then the trainings that overfit."""
    units = planned_units(store, sweep)
    states = unit_states(store, units)
    table = Table("unit", "kind", "what", "state", box=None, header_style="bold")
    for unit, state in zip(units, states, strict=True):
        failed = store.root.read_record(unit.failed_file, UnitFailed) if state == "failed" else None
        words = f"failed: {failed.message}" if failed else state
        table.add_row(unit.identity[:8], unit.kind, escape(unit.entry.label), escape(words))
    console.print(table)
    for line in overfitting_lines(store, units, states):
        console.print(line, highlight=False, markup=False)


def overfitting_lines(store: Store, units: list[PlannedUnit], states: list[State]) -> list[str]:
    """A line for every finished training whose loss still fell while its snapshots got worse."""
    # Imported here: the list of all sweeps, which is asked for most, needs no tables.
    from orchestrator.storage.curves import training_curves
    from reports.read.overfitting import by_training

    lines: list[str] = []
    for unit, state in zip(units, states, strict=True):
        entry = unit.entry
        if not isinstance(entry, PlannedTraining) or state != "finished":
            continue
        curves = training_curves(entry.train_id, entry.selection_id, store).to_pandas()
        for found in by_training(curves).values():
            lines.append(f"{entry.label} ({entry.train_id[:8]}) {found.words}")
    return lines
