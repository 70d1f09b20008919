"""For tests: a sweep's tables and manifest, collected from a store of made-up units."""

import json
from typing import Any

import pyarrow.parquet as pq

from orchestrator.planning.plan import Plan
from orchestrator.results.collect import collect

NOTHING = {"trainings": 0, "cells": 0}


def collected(fake: Any, ran: dict[str, int] = NOTHING) -> bool:
    """Collect the sweep's tables as they are now; whether anything changed."""
    return collect(fake.plan(), fake.store, fake.store.sweep("tiny"), command="orch sweep grid.yaml", ran=ran)


def table(fake: Any, name: str) -> Any:
    return pq.read_table(fake.path / "sweeps/tiny" / name)


def manifest(fake: Any) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((fake.path / "sweeps/tiny/manifest.json").read_text())
    return read


def recorded(fake: Any, **facts: Any) -> None:
    """Every cell's record with these facts besides."""
    for cell in fake.plan().cells:
        name = f"cells/{cell.cell_id}/cell.json"
        fake.json(name, {**json.loads((fake.path / name).read_text()), **facts})


def sums_hold(counts: dict[str, int], plan: Plan) -> None:
    done_cells = len(plan.cells) - len(plan.missing_cells)
    done_trainings = len(plan.trainings) - len(plan.missing_trainings)
    assert counts["points"] == counts["cells"] + counts["collapsed"]
    assert counts["cached_cells"] + counts["run_cells"] == done_cells
    assert counts["cached_trainings"] + counts["run_trainings"] == done_trainings
    assert min(counts.values()) >= 0
