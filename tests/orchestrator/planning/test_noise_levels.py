"""What holds samplers back is said in plan and manifest, and is part of what selections and cells are."""

from pathlib import Path

import pytest

from orchestrator.errors import GridError
from orchestrator.grid import expand, load_sweep
from orchestrator.planning.make_plan import make_plan
from orchestrator.planning.noise_levels import level_notes
from orchestrator.planning.plan import Plan
from orchestrator.planning.unit import Unit

GRID = """\
schema: orch/grid@1
name: levels
recipe: edm_digits
varies: objective
NETWORKS
panel: [PANEL]
seeds: {train: [0], sample: [0]}
resources: {workers: 1, cpus_per_worker: 1, gpus_per_worker: 0}
"""


NETWORKS = """\
set: {objective.kind: regression}
axes: {objective.process.kind: [ve, edm]}"""


def plan_of(folder: Path, panel: str) -> Plan:
    path = folder / "levels.yaml"
    path.write_text(GRID.replace("PANEL", panel).replace("NETWORKS", NETWORKS))
    sweep = load_sweep(path)
    return make_plan(sweep, expand(sweep))


def test_a_plan_says_what_was_raised_and_workers_are_told(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "{kind: heun, num_steps: 10}")
    assert level_notes(plan) == (
        "snapshots chosen by Heun 18, Heun 10: noise levels 0.02 to 80: the lowest raised from 0.002 "
        "to what the network was shown [playbook 5.3]",
    )
    told = [Unit.of_cell(cell, "store", None, 1).spec.sample.canonical().form for cell in plan.cells]
    assert [form["sigma_min"] for form in told] == [0.02, 0.002]


def test_networks_shown_other_levels_are_measured_under_one_protocol(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "{kind: heun, num_steps: 10}")
    assert len({cell.protocol_id for cell in plan.cells}) == 1
    assert len({cell.experiment.sample.label for cell in plan.cells}) == 1


def test_a_written_level_outside_is_refused_and_allowed_by_name(tmp_path: Path) -> None:
    outside = "{kind: heun, num_steps: 10, sigma_min: 0.01}"
    with pytest.raises(GridError, match=r"sigma_min 0.01 is not among the noise levels.*0.02 to 100"):
        plan_of(tmp_path, outside)
    plan = plan_of(tmp_path, outside.replace("}", ", beyond_trained_levels: true}"))
    assert {cell.experiment.sample.canonical().form["sigma_min"] for cell in plan.cells} == {0.01}


def test_a_grid_may_write_no_upper_limit_of_churn_as_inf(tmp_path: Path) -> None:
    panel = "{kind: edm_stochastic, num_steps: 10, grid: ve, s_churn: 10, s_tmax: [.inf, 80]}"
    cells = plan_of(tmp_path, panel).cells
    limits = [cell.experiment.sample.model_dump(mode="json")["s_tmax"] for cell in cells]
    # The network of process edm is held to 80, where the two limits do the same.
    assert limits == [None, 80.0, None]
    assert len(cells[-1].points) == 2
