"""`orch sweep --confirm`: the winners of a quick sweep at the papers' protocol."""

from dataclasses import replace

import pytest

from engine.records.protocol import FULL_SAMPLES
from orchestrator.errors import UnitsFailed, UsageError
from orchestrator.execution.confirm import confirming, ranked
from orchestrator.results.manifest import deviations
from orchestrator.search.current_plan import whole_plan


def measured(fake, distances):
    """The plan of a store whose cells have these distances, in the plan's order."""
    fake.finish_everything()
    for cell, distance in zip(fake.plan().cells, distances, strict=True):
        fake.finish_cell(cell, distance=distance)
    return fake.plan()


def test_the_winner_gets_the_full_count_of_images_in_three_fresh_sets(fake):
    plan = measured(fake, [5.0, 4.0, 3.0, 6.0])
    sweep = confirming(plan, fake.store, 1)
    again = whole_plan(sweep, fake.store)
    assert sweep.output_name == "tiny-full"
    assert [cell.experiment.eval.num_samples for cell in again.cells] == [FULL_SAMPLES] * 3
    assert [cell.experiment.eval.sample_seed for cell in again.cells] == [1, 2, 3]
    assert {cell.training.train_id for cell in again.cells} == {plan.cells[2].training.train_id}
    assert {cell.experiment.sample for cell in again.cells} == {plan.cells[2].experiment.sample}


def test_confirming_trains_nothing_and_chooses_no_snapshot_again(fake):
    plan = measured(fake, [5.0, 4.0, 3.0, 6.0])
    sweep = confirming(plan, fake.store, 2)
    again = whole_plan(sweep, fake.store)
    assert (len(again.missing_trainings), len(again.missing_cells)) == (0, 6)


def test_a_configuration_is_ranked_by_its_mean_over_seeds(fake):
    two = fake.changed("panel:", "seeds: {train: [0], sample: [0, 1]}\npanel:")
    plan = measured(two, [1.0, 9.0, 4.0, 4.0, 8.0, 8.0, 7.0, 7.0])
    assert [len(cells) for cells in ranked(plan, two.store)] == [2, 2, 2, 2]
    best = ranked(plan, two.store)[0]
    assert {cell.cell_id for cell in best} == {plan.cells[2].cell_id, plan.cells[3].cell_id}


def test_confirming_drops_num_samples_from_the_deviations(fake):
    few = fake.changed("panel:", "set: {eval.num_samples: 80, train.lr: 0.001}\npanel:")
    sweep = confirming(measured(few, [5.0, 4.0, 3.0, 6.0]), few.store, 1)
    assert deviations(sweep) == ["train.lr = 0.001"]


def test_nothing_finished_has_no_winner(fake):
    with pytest.raises(UsageError, match="no cell is finished"):
        confirming(fake.plan(), fake.store, 1)


def test_a_sweep_at_the_full_level_is_not_confirmed_again(fake):
    plan = measured(fake, [5.0, 4.0, 3.0, 6.0])
    protocol = plan.sweep.anchor.eval.model_copy(update={"num_samples": FULL_SAMPLES})
    sweep = replace(plan.sweep, anchor=plan.sweep.anchor.model_copy(update={"eval": protocol}))
    with pytest.raises(UsageError, match="already"):
        confirming(replace(plan, sweep=sweep), fake.store, 1)


def test_winners_are_confirmed_although_a_cell_failed(finished, orch, monkeypatch):
    ran = []

    def run_sweep(sweep, options):
        ran.append(sweep.output_name)
        if len(ran) == 1:
            raise UnitsFailed("1 units are missing")

    monkeypatch.setattr("orchestrator.execution.driver.run_sweep", run_sweep)
    code, _, err = orch("sweep", str(finished.sweep.path), "--storage", str(finished.path), "--confirm", "1")
    assert ran == ["tiny", "tiny-full"]
    assert code == 1
    assert "1 units are missing" in err
