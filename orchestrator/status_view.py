"""The state of a storage's sweeps, read from their plans and the units' DONE files."""

from typing import Any

from rich.console import Console
from rich.table import Table

from orchestrator.errors import UsageError
from orchestrator.store import DONE, FAILED, Store


def show_status(store: Store, name: str | None, console: Console) -> None:
    """A line for every sweep, or the units of one."""
    names = store.root.subfolder("sweeps").folders()
    if name is not None:
        if name not in names:
            raise UsageError(f"no sweep {name!r} in {store.uri}; there are: {', '.join(names) or 'none yet'}")
        return show_units(store, name, console)
    if not names:
        console.print(f"no sweeps in {store.uri} yet; start one: orch sweep grids/quickstart.yaml", highlight=False)
        return None
    table = Table("sweep", "trainings", "cells", "failed", "report", box=None, header_style="bold")
    for sweep in names:
        trainings, cells, failed = sweep_counts(store, sweep)
        report = "yes" if store.sweep(sweep).exists("report/report.html") else "no"
        table.add_row(sweep, trainings, cells, str(failed), report)
    console.print(table)
    console.print("next: orch status SWEEP, or orch report " + f"{store.uri}/sweeps/SWEEP", highlight=False)
    return None


def sweep_counts(store: Store, sweep: str) -> tuple[str, str, int]:
    """Finished / all trainings, finished / all cells, and how many units recorded a failure."""
    plan = read_plan(store, sweep)
    trainings = [f"train/{unit['train_id']}" for unit in plan["trainings"]]
    cells = [f"cells/{cell['cell_id']}" for cell in plan["cells"]]
    found = store.finished(f"{folder}/{name}" for folder in (*trainings, *cells) for name in (DONE, FAILED))
    trained = sum(f"{folder}/{DONE}" in found for folder in trainings)
    sampled = sum(f"{folder}/{DONE}" in found for folder in cells)
    failed = sum(f"{folder}/{FAILED}" in found for folder in (*trainings, *cells))
    return f"{trained} / {len(trainings)}", f"{sampled} / {len(cells)}", failed


def show_units(store: Store, sweep: str, console: Console) -> None:
    """Every unit of a sweep with its state and, when it failed, why."""
    plan = read_plan(store, sweep)
    units = [("train", f"train/{unit['train_id']}", unit["label"]) for unit in plan["trainings"]]
    units += [("sample", f"cells/{cell['cell_id']}", cell["label"]) for cell in plan["cells"]]
    found = store.finished(f"{folder}/{name}" for _, folder, _ in units for name in (DONE, FAILED))
    table = Table("unit", "kind", "what", "state", box=None, header_style="bold")
    for kind, folder, label in units:
        table.add_row(folder.rsplit("/", 1)[1][:8], kind, label, unit_state(store, folder, found))
    console.print(table)


def unit_state(store: Store, folder: str, found: set[str]) -> str:
    """finished, failed with its message, or missing."""
    if f"{folder}/{DONE}" in found:
        return "finished"
    if f"{folder}/{FAILED}" in found:
        return f"failed: {store.root.read_json(f'{folder}/{FAILED}')['message']}"
    return "missing"


def read_plan(store: Store, sweep: str) -> dict[str, Any]:
    """The plan a sweep last ran with."""
    plan = store.sweep(sweep).read_json("plan.json")
    if plan is None:
        raise UsageError(f"the sweep {sweep!r} in {store.uri} has no plan.json; run orch sweep once more")
    return dict(plan)
