"""The state of a storage's sweeps, read from their plans and the units' DONE files."""

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestrator.errors import UsageError
from orchestrator.storage.store import DONE, FAILED, Store


@dataclass(frozen=True)
class PlannedUnit:
    """A training or cell of a sweep's last plan: its kind, its folder and its entry in plan.json."""

    kind: str
    folder: str
    entry: dict[str, Any]

    @property
    def needed(self) -> tuple[str, ...]:
        """Files whose presence means that it is finished."""
        done = f"{self.folder}/{DONE}"
        if self.kind == "sample":
            return (done,)
        return done, f"{self.folder}/selections/{self.entry['selection_id']}.json"

    @property
    def failed_file(self) -> str:
        """File that says why it failed."""
        return f"{self.folder}/{FAILED}"


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
        report = "yes" if store.sweep(sweep).exists("report/report.html") else "no"
        table.add_row(sweep, trainings, cells, str(failed), report)
    console.print(table)
    console.print(f"next: orch status SWEEP, or orch report {store.shown}/sweeps/SWEEP", highlight=False)
    return None


def planned_sweeps(store: Store) -> list[str]:
    """Names of the sweeps that have a plan; one that was stopped before it is not worth a word."""
    sweeps = store.root.subfolder("sweeps")
    return [name for name in sweeps.folders() if sweeps.exists(f"{name}/plan.json")]


def planned_units(store: Store, sweep: str) -> list[PlannedUnit]:
    """Trainings and then cells of the plan that a sweep last ran with."""
    plan = store.sweep(sweep).read_json("plan.json")
    trainings = [PlannedUnit("train", f"train/{entry['train_id']}", entry) for entry in plan["trainings"]]
    return trainings + [PlannedUnit("sample", f"cells/{entry['cell_id']}", entry) for entry in plan["cells"]]


def unit_states(store: Store, units: list[PlannedUnit]) -> list[str]:
    """finished, failed or missing for each unit; what is there is asked for in one request."""
    found = store.finished(file for unit in units for file in (*unit.needed, unit.failed_file))
    return [
        "finished" if found.issuperset(unit.needed) else "failed" if unit.failed_file in found else "missing"
        for unit in units
    ]


def sweep_counts(store: Store, sweep: str) -> tuple[str, str, int]:
    """Finished / all trainings, finished / all cells, and how many units failed."""
    units = planned_units(store, sweep)
    states = unit_states(store, units)
    counted = {
        kind: [state for unit, state in zip(units, states, strict=True) if unit.kind == kind]
        for kind in ("train", "sample")
    }
    trainings, cells = (f"{found.count('finished')} / {len(found)}" for found in counted.values())
    return trainings, cells, states.count("failed")


def show_units(store: Store, sweep: str, console: Console) -> None:
    """Every unit of a sweep with its state and, when it failed, why; then the trainings that overfit."""
    units = planned_units(store, sweep)
    states = unit_states(store, units)
    table = Table("unit", "kind", "what", "state", box=None, header_style="bold")
    for unit, state in zip(units, states, strict=True):
        if state == "failed":
            state = f"failed: {store.root.read_json(unit.failed_file)['message']}"
        table.add_row(
            unit.folder.rsplit("/", 1)[1][:8], unit.kind, escape(unit.entry["label"]), escape(state)
        )
    console.print(table)
    for line in overfitting_lines(store, units, states):
        console.print(line, highlight=False, markup=False)


def overfitting_lines(store: Store, units: list[PlannedUnit], states: list[str]) -> list[str]:
    """A line for every finished training whose loss still fell while its snapshots got worse."""
    # Imported here: the list of all sweeps, which is asked for most, needs no tables.
    from orchestrator.execution.collect import training_curves
    from reports.read.overfitting import by_training

    lines = []
    for unit, state in zip(units, states, strict=True):
        if unit.kind == "train" and state == "finished":
            train_id = unit.entry["train_id"]
            curves = training_curves(train_id, unit.entry["selection_id"], store).to_pandas()
            lines += [
                f"{unit.entry['label']} ({train_id[:8]}) {found.words}"
                for found in by_training(curves).values()
            ]
    return lines
