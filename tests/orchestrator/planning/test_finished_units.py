"""What a plan has left to do, by the files that its store holds."""

from typing import Any

from orchestrator.planning.plan import Plan


def counts(plan: Plan) -> tuple[int, int, int]:
    return plan.num_points, len(plan.cells), len(plan.trainings)


def test_a_finished_sweep_has_nothing_left(finished: Any) -> None:
    plan = finished.plan()
    assert (plan.missing_cells, plan.missing_trainings) == ((), ())
    assert {plan.training_state(unit) for unit in plan.trainings} == {"cached"}


def test_a_new_value_on_an_axis_leaves_every_other_unit_finished(finished: Any) -> None:
    before, after = finished.plan(), finished.changed("[8, 16]", "[4, 8, 16]").plan()
    assert counts(after) == (12, 6, 3)
    assert before.finished <= after.finished
    assert [unit.axes for unit in after.missing_trainings] == [{"model.channels": 4}]
    assert {cell.training.train_id for cell in after.missing_cells} == {after.missing_trainings[0].train_id}


def test_a_new_sampler_needs_no_training(finished: Any) -> None:
    plan = finished.changed("s_churn: [0, 5, 6]", "s_churn: [0, 1, 5, 6]").plan()
    assert (len(plan.missing_trainings), len(plan.missing_cells)) == (0, 2)


def test_a_finished_training_without_a_selection_is_selected_not_trained(fake: Any) -> None:
    ready, undecided = fake.plan().trainings
    fake.finish_training(ready)
    fake.finish_training(undecided, select=False)
    plan = fake.plan()
    assert [plan.training_state(unit) for unit in plan.trainings] == ["cached", "select"]
    assert plan.missing_trainings == (undecided,)


def test_another_selection_rule_reuses_the_weights(finished: Any) -> None:
    plan = finished.changed("panel:", "set: {eval.selection.num_samples: 128}\npanel:").plan()
    assert {plan.training_state(unit) for unit in plan.trainings} == {"select"}
    assert plan.missing_cells == plan.cells


def test_more_measured_images_reuse_weights_and_snapshots(finished: Any) -> None:
    plan = finished.changed("panel:", "set: {eval.num_samples: 128}\npanel:").plan()
    assert (plan.missing_trainings, plan.missing_cells) == ((), plan.cells)


def test_a_cell_without_its_done_file_is_missing(finished: Any) -> None:
    cell = finished.plan().cells[0]
    (finished.path / cell.done_file).unlink()
    assert (finished.path / f"cells/{cell.cell_id}/cell.json").exists()
    assert finished.plan().missing_cells == (cell,)


def test_a_selection_without_done_file_does_not_make_a_training_finished(finished: Any) -> None:
    unit = finished.plan().trainings[0]
    (finished.path / unit.done_file).unlink()
    assert finished.plan().training_state(unit) == "train"


def test_the_same_sweep_and_store_give_the_same_plan(finished: Any) -> None:
    assert finished.plan() == finished.plan()


def test_planning_writes_nothing(fake: Any) -> None:
    fake.plan()
    assert not fake.path.exists()
