"""Write down the names of all shipped work: python tests/orchestrator/planning/record_identities.py FILE.

Do this when a change renames work on purpose, and say in the changelog what is renamed and why.
"""

import hashlib
import json
import sys
from pathlib import Path

from pydantic import JsonValue

from orchestrator.grid import expand, load_sweep
from orchestrator.planning.make_plan import make_plan

GRIDS = Path(__file__).resolve().parents[3] / "grids"

Names = dict[str, JsonValue]
"""What a grid means: its points, trainings with their selections, protocols, and the hash of all cells' names."""


def shipped() -> list[str]:
    """Every shipped grid, plain and `--smoke`."""
    return [f"{path.stem}{option}" for path in sorted(GRIDS.glob("*.yaml")) for option in ("", " --smoke")]


def names_of(grid: str) -> Names:
    """What a shipped grid means today."""
    stem, *option = grid.split(" ")
    sweep = load_sweep(GRIDS / f"{stem}.yaml", smoke=bool(option))
    plan = make_plan(sweep, expand(sweep))
    cells = [cell.cell_id for cell in plan.cells]
    return {
        "points": plan.num_points,
        "trainings": [[training.train_id, training.selection_id] for training in plan.trainings],
        "protocols": sorted({cell.protocol_id for cell in plan.cells}),
        "cells": len(cells),
        "cells_sha256": hashlib.sha256("\n".join(cells).encode()).hexdigest(),
    }


if __name__ == "__main__":
    found = {grid: names_of(grid) for grid in shipped()}
    Path(sys.argv[1]).write_text(json.dumps(found, indent=1) + "\n")
