"""Which cells share a run, and how it is cut for several workers."""

from typing import Any

import pytest

from engine.sampling.prefix_sharing import shared_evaluations
from orchestrator.console.progress import Progress
from orchestrator.execution.draining import Draining
from orchestrator.execution.missing_units import MissingUnits
from orchestrator.execution.spooled import missing_batches
from orchestrator.planning.cell import Cell
from orchestrator.planning.prefix_groups import PrefixGroup, prefix_groups
from orchestrator.planning.unit import Unit

CHURN = """panel:
  - {kind: heun, num_steps: 12}
  - {kind: edm_stochastic, num_steps: 12, s_churn: [1, 2, 3], s_tmax: 1}"""


@pytest.fixture
def churn(fake: Any) -> Any:
    """The tiny sweep with a panel whose samplers act alike until sigma falls below 1."""
    head, _ = fake.sweep.source.split("panel:")
    return fake.changed(fake.sweep.source, head + CHURN)


def unit_of(cell: Cell) -> Unit:
    return Unit.of_cell(cell, "/storage", None, 1)


def ids(cells: tuple[Cell, ...]) -> set[str]:
    return {cell.cell_id for cell in cells}


def test_cells_of_one_training_and_protocol_are_a_group(churn: Any) -> None:
    plan = churn.plan()
    found = prefix_groups(plan.cells)
    assert [len(group.cells) for group in found] == [4, 4]
    assert all(len({cell.training.train_id for cell in group.cells}) == 1 for group in found)


def test_another_sample_seed_or_measured_variance_never_shares_a_run(churn: Any) -> None:
    seeds = churn.changed("panel:", "seeds: {sample: [0, 1]}\npanel:")
    assert sorted(len(group.cells) for group in prefix_groups(seeds.plan().cells)) == [4, 4, 4, 4]
    analytic = "[{kind: ddpm, num_steps: 4, covariance: [beta, beta_tilde, analytic]}]"
    head, _ = churn.sweep.source.split("panel:")
    measured = churn.changed(churn.sweep.source, f"{head}panel: {analytic}").plan().cells
    assert sorted(len(group.cells) for group in prefix_groups(measured)) == [1, 1, 2, 2]


def test_a_group_shares_a_run_only_when_that_saves_a_tenth(churn: Any, fake: Any) -> None:
    together = prefix_groups(churn.plan().cells)[0]
    assert together.alone == 4 * 23
    assert together.together == shared_evaluations(cell.experiment.sample for cell in together.cells)
    assert together.shares
    assert together.evaluations == 2 * 64 * together.together  # 100 images are two batches of 64
    apart = prefix_groups(fake.plan().cells)[
        0
    ]  # churn from the first step on: nothing but the latents is alike
    assert (apart.shares, apart.evaluations) == (False, 2 * 64 * apart.alone)
    assert not PrefixGroup(together.cells[:1]).shares


def test_batches_are_shared_out_before_samplers_are_cut(churn: Any) -> None:
    group = prefix_groups(churn.plan().cells)[0]
    everything = ids(group.cells)
    assert [(ids(cells), batches) for cells, batches in group.shared_runs(1)] == [(everything, (0, 1))]
    assert [(ids(cells), batches) for cells, batches in group.shared_runs(2)] == [
        (everything, (0,)),
        (everything, (1,)),
    ]
    halves = group.shared_runs(4)
    assert [batches for _, batches in halves] == [(0,), (0,), (1,), (1,)]
    assert [len(cells) for cells, _ in halves] == [2, 2, 2, 2]
    assert set().union(*(ids(cells) for cells, batches in halves if batches == (1,))) == everything


def test_a_cut_keeps_samplers_with_long_common_beginnings_together(fake: Any) -> None:
    head, _ = fake.sweep.source.split("panel:")
    panel = "panel: [{kind: edm_stochastic, num_steps: 12, s_churn: [1, 2], s_tmin: [0, 5], s_tmax: [80, 1]}]"
    plan = fake.changed(fake.sweep.source, head + panel).plan()
    group = prefix_groups(plan.cells)[0]
    parts = [cells for cells, batches in group.shared_runs(6) if batches == (0,)]
    cut = sum(shared_evaluations(cell.experiment.sample for cell in cells) for cells in parts)
    in_order = [group.cells[number :: len(parts)] for number in range(len(parts))]
    assert cut < sum(shared_evaluations(cell.experiment.sample for cell in cells) for cells in in_order)


def test_a_shared_run_survives_json_and_has_a_name_of_its_own(churn: Any) -> None:
    group = prefix_groups(churn.plan().cells)[0]
    units = [Unit.of_shared_run(cells, batches, unit_of(cells[0])) for cells, batches in group.shared_runs(4)]
    assert len({unit.unit_id for unit in units}) == 4
    again = Unit.from_json(units[0].to_json())
    assert (again.kind, list(again.batches)) == ("draw", [0])
    assert [cell_id for cell_id, _ in again.samplers] == [cell_id for cell_id, _ in units[0].samplers]


def test_a_shared_run_goes_on_with_the_images_that_each_cell_lacks(churn: Any) -> None:
    group = prefix_groups(churn.plan().cells)[0]
    unit = Unit.of_shared_run(group.cells, (0, 1), unit_of(group.cells[0]))
    folders = [churn.store.cell(cell.cell_id) for cell in group.cells]
    everyone = tuple(range(len(folders)))
    assert missing_batches(unit, folders) == {everyone: [0, 1]}
    for folder in folders:
        folder.write("drawn/0000000000.safetensors", b"images 0 to 63")
    folders[0].write("drawn/0000000064.safetensors", b"images 64 to 99")
    assert missing_batches(unit, folders) == {everyone[1:]: [1]}
    for folder in folders:
        folder.write("drawn/0000000064.safetensors", b"images 64 to 99")
    assert missing_batches(unit, folders) == {}


def test_cells_wait_for_the_shared_runs_that_sample_their_images(churn: Any) -> None:
    group = prefix_groups(churn.plan().cells)[0]
    shared_runs = [
        Unit.of_shared_run(cells, batches, unit_of(cells[0])) for cells, batches in group.shared_runs(2)
    ]
    search = MissingUnits([*shared_runs, unit_of(group.cells[0])], {}, Draining())
    assert isinstance(search.suggest("a"), dict)
    assert isinstance(search.suggest("b"), dict)
    assert search.suggest("c") is None
    search.on_trial_complete("a", {})
    assert search.suggest("c") is None
    search.on_trial_complete("b", error=True)
    proposal = search.suggest("c")
    assert isinstance(proposal, dict)
    assert Unit.from_json(proposal["unit"]).kind == "sample"


def test_the_shared_runs_of_a_spool_batch_wait_for_the_cells_before_them(churn: Any) -> None:
    group = prefix_groups(churn.plan().cells)[0]
    shared_run = Unit.of_shared_run(group.cells, (0,), unit_of(group.cells[0]))
    search = MissingUnits([unit_of(group.cells[0]), unit_of(group.cells[1]), shared_run], {}, Draining())
    assert isinstance(search.suggest("a"), dict)
    assert isinstance(search.suggest("b"), dict)
    assert search.suggest("c") is None
    search.on_trial_complete("a", {})
    assert search.suggest("c") is None
    search.on_trial_complete("b", error=True)
    assert isinstance(search.suggest("c"), dict)
    assert search.suggest("d") == "FINISHED"


def test_predicted_seconds_move_from_cells_to_their_shared_runs(console: Any, fake: Any) -> None:
    progress = Progress(console, fake.store.sweep("tiny"), {"a": 6.0, "b": 6.0, "other": 1.0}, {"sample": 2})
    progress.expect_shared_runs(["a", "b"], ["one", "two"])
    assert progress.predicted == {"other": 1.0, "one": 6.0, "two": 6.0, "a": 0.5, "b": 0.5}
