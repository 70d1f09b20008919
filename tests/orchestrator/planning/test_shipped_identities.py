"""The names of all shipped work: a change that renames any of it makes users train again what they have."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.grid import expand, load_sweep
from orchestrator.planning.make_plan import make_plan
from orchestrator.planning.plan import Plan

ROOT = Path(__file__).resolve().parents[3]
RECORDED: dict[str, dict[str, Any]] = json.loads(
    (ROOT / "tests" / "data" / "identities_0.4.0.json").read_text()
)

AUGMENTATION = "trainings with augmentation"
BOUND = "bounds with covariance `analytic` or `ocm`"
NOISE_LEVELS = "samplers keep to the noise levels that a network was shown"
CORRECTED = {
    f"{grid}{option}": NOISE_LEVELS
    for grid in (
        "attention_placement",
        "dropout_schedule",
        "dydit_flops",
        "few_step",
        "learned_variance",
        "objectives",
        "ocm_variance",
        "unet_channels",
    )
    for option in ("", " --smoke")
} | {
    f"{grid}{option}": AUGMENTATION
    for grid in ("capacity", "edm_networks", "edm_stochastic", "edm_table5")
    for option in ("", " --smoke")
}
CORRECTED |= {f"few_step{option}": BOUND for option in ("", " --smoke")}
CORRECTED |= {f"dydit_flops{option}": "DyDiT's fine-tunings" for option in ("", " --smoke")}
"""Grids whose work was renamed since 0.4.0, as its results changed, and the changelog's words for it."""

# Planning all 13,068 points takes seconds.
LARGE = {"edm_table5", "edm_table5 --smoke"}
GRIDS = [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in RECORDED]


def plan_of(name: str) -> Plan:
    grid, *option = name.split(" ")
    sweep = load_sweep(ROOT / "grids" / f"{grid}.yaml", smoke=bool(option))
    return make_plan(sweep, expand(sweep))


@pytest.mark.parametrize("name", GRIDS)
def test_a_shipped_grid_means_the_trainings_and_cells_that_it_meant_in_0_4_0(
    name: str,
) -> None:
    if name in CORRECTED:
        assert CORRECTED[name] in (ROOT / "CHANGELOG.md").read_text()
        pytest.skip(f"renamed on purpose: {CORRECTED[name]}")
    plan = plan_of(name)
    cells = [cell.cell_id for cell in plan.cells]
    assert {
        "points": plan.num_points,
        "trainings": [[training.train_id, training.selection_id] for training in plan.trainings],
        "protocols": sorted({cell.protocol_id for cell in plan.cells}),
        "cells": len(cells),
        "cells_sha256": hashlib.sha256("\n".join(cells).encode()).hexdigest(),
    } == RECORDED[name]


def test_every_grid_of_0_4_0_is_still_shipped() -> None:
    shipped = {path.stem for path in (ROOT / "grids").glob("*.yaml")}
    assert {name.split(" ")[0] for name in RECORDED} <= shipped
