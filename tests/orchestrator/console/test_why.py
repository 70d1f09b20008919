"""`orch why`: where a unit stands, what it stands for, and what makes it different from finished work."""

import json
from typing import Any

import pytest
from pydantic import JsonValue

from orchestrator.console.why import different, explain
from orchestrator.errors import UsageError


def why(fake: Any, prefix: str, console: Any) -> list[str]:
    explain(fake.store, prefix, console)
    return [line.strip() for line in console.text.splitlines()]


def test_a_finished_cell_says_when_where_and_what_it_stands_for(finished: Any, console: Any) -> None:
    cell = finished.plan().cells[0]
    assert why(finished, cell.cell_id[:6], console)[:6] == [
        f"cells/{cell.cell_id} of sweep tiny: channels 8 · Heun 3",
        "finished 2026-01-02T03:04:05+00:00 in 0.5 s on a test's machine: not run again",
        "stands for 2 points of the grid:",
        "channels 8, sampler Heun 3",
        "channels 8, sampler EDM 3 churn 0",
        "because s_churn = 0 is Heun: s_tmin, s_tmax and s_noise do nothing",
    ]


def test_a_failed_unit_says_why_and_that_it_is_tried_again(finished: Any, console: Any) -> None:
    unit = finished.plan().trainings[0]
    (finished.path / unit.done_file).unlink()
    finished.fail(f"train/{unit.train_id}", "loss is not finite")
    told = why(finished, unit.train_id, console)
    assert told[1:3] == ["failed 2026-01-02T03:05:00+00:00: loss is not finite", "orch sweep tries it again"]


def test_a_missing_unit_says_so_and_names_the_differing_field_of_the_nearest(fake: Any, console: Any) -> None:
    plan = fake.plan()
    fake.finish_training(plan.trainings[0])
    fake.save_plan()
    assert why(fake, plan.trainings[1].train_id, console)[1:] == [
        "missing: no DONE.json in its folder, so orch sweep runs it",
        f"nearest finished unit: {plan.trainings[0].train_id}",
        "model.channels: 8 there, 16 here",
    ]


def test_a_training_whose_snapshot_is_not_chosen_says_so(finished: Any, console: Any) -> None:
    other = finished.changed("panel:", "set: {eval.selection.num_samples: 128}\npanel:")
    other.save_plan()
    told = why(other, other.plan().trainings[0].train_id, console)
    assert told[1].endswith("orch sweep has yet to choose the snapshot under this sweep's protocol")


def test_the_nearest_cell_is_the_one_with_fewest_differing_fields(finished: Any, console: Any) -> None:
    grown = finished.changed("s_churn: [0, 5, 6]", "s_churn: [0, 1, 5, 6]")
    grown.save_plan()
    (cell, _) = grown.plan().missing_cells
    stochastic = finished.plan().cells[1]
    assert why(grown, cell.cell_id, console)[-2:] == [
        f"nearest finished unit: {stochastic.cell_id}",
        "sample.s_churn: 5.0 there, 1.0 here",
    ]


def test_a_changed_protocol_is_named_as_the_reason(finished: Any, console: Any) -> None:
    """The question behind it: why are all my cells to be sampled again?"""
    before = finished.plan().cells[0]
    changed = finished.changed("panel:", "set: {eval.num_samples: 128}\npanel:")
    changed.save_plan()
    told = why(changed, changed.plan().cells[0].cell_id, console)
    assert told[-2:] == [f"nearest finished unit: {before.cell_id}", "eval.num_samples: 100 there, 128 here"]


def test_work_of_another_engine_version_is_told_apart_from_a_changed_field(
    finished: Any, console: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.planning.identity.ENGINE_VERSION", "later")
    finished.save_plan()
    told = why(finished, finished.plan().trainings[0].train_id, console)
    assert told[-1].startswith("no field differs: another version of the engine made it")


def test_the_first_finished_unit_has_nothing_to_compare_with(fake: Any, console: Any) -> None:
    fake.save_plan()
    assert why(fake, fake.plan().cells[0].cell_id, console)[-1] == "no other finished unit to compare with"


def test_an_ambiguous_prefix_lists_what_it_fits(finished: Any, console: Any) -> None:
    with pytest.raises(UsageError, match="'' fits 6 units: ") as caught:
        explain(finished.store, "", console)
    assert str(caught.value).count(", ") == 4  # five of them are enough


def test_an_unknown_unit_says_where_to_look(finished: Any, console: Any) -> None:
    with pytest.raises(
        UsageError, match=r"no unit of any sweep in .* begins with 'zzz'; see orch status SWEEP"
    ):
        explain(finished.store, "zzz", console)


def test_a_training_shared_by_two_sweeps_is_one_unit(finished: Any, console: Any) -> None:
    other = finished.changed("name: tiny", "name: other")
    other.save_plan()
    told = why(finished, finished.plan().trainings[0].train_id, console)
    assert told[0].startswith(f"train/{finished.plan().trainings[0].train_id} of sweep other")


def test_many_points_are_shortened(finished: Any, console: Any) -> None:
    wide = finished.changed("[0, 5, 6]", "[5, 6, 7, 8, 9, 10, 11]")
    wide.save_plan()
    told = why(wide, wide.plan().cells[1].cell_id, console)
    assert told[2:9] == ["stands for 7 points of the grid:", *told[3:8], "and 2 more"]
    assert told[3] == "channels 8, sampler EDM 3 churn 5 [0, inf] noise 1"


# A training that starts from another, and weights.


def test_a_head_that_is_missing_is_compared_with_the_parent_that_is_there(head: Any, console: Any) -> None:
    parent, child = head.plan().trainings
    head.finish_training(parent)
    head.save_plan()
    told = why(head, child.train_id, console)
    assert told[0] == f"train/{child.train_id} of sweep tiny: the recipe"
    assert told[2] == f"nearest finished unit: {parent.train_id}"
    assert "objective.kind: simple there, ocm here" in told
    assert "start.objective.kind: absent there, simple here" in told


def test_another_start_is_named_as_the_reason(head: Any, console: Any) -> None:
    head.finish_everything()
    longer = head.changed("start.train.total_kimg: 4", "start.train.total_kimg: 8")
    longer.save_plan()
    told = why(longer, longer.plan().trainings[1].train_id, console)
    assert told[-1] == "start.train.total_kimg: 4.0 there, 8.0 here"


def test_cells_of_other_weights_differ_in_them_alone(finished: Any, console: Any) -> None:
    grown = finished.changed(
        "axes: {model.channels: [8, 16]}", "axes: {weights.kind: [raw]}", "weights"
    ).changed("panel:", "set: {train.keep_raw: true}\npanel:")
    grown.save_plan()
    told = why(grown, grown.plan().cells[0].cell_id, console)
    assert "weights.kind: ema there, raw here" in told


def test_equal_weights_are_a_reason_to_be_one_unit(fake: Any, console: Any) -> None:
    points = "points: [{weights.kind: ema}, {weights.kind: ema, weights.halflife_kimg: 1}]"
    same = fake.changed("axes: {model.channels: [8, 16]}", points, "weights")
    same.save_plan()
    told = why(same, same.plan().cells[1].cell_id, console)
    assert "weights ema, halflife_kimg 1, sampler EDM 3 churn 5 [0, inf] noise 1" in told
    assert "because weights ema with half-life 1 kimg are the training's own average" in told


def test_why_compares_units_of_a_version_with_fewer_sections(finished: Any, console: Any) -> None:
    plan = finished.plan()
    for name, section in (
        (f"train/{plan.trainings[0].train_id}/spec.json", "start"),
        (cell_file(plan), "weights"),
    ):
        record = json.loads((finished.path / name).read_text())
        del record.get("experiment", record)[section]
        finished.json(name, record)
    assert why(finished, plan.trainings[1].train_id, console)[-1] == "model.channels: 8 there, 16 here"
    explain(finished.store, plan.cells[1].cell_id, console)


def cell_file(plan: Any) -> str:
    return f"cells/{plan.cells[0].cell_id}/cell.json"


@pytest.fixture
def augmented_before(finished: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A sweep with augmentation whose work 0.4.0 finished, and its plan of today."""
    sweep = finished.changed("panel:", "set: {data.augment: 0.12}\npanel:")
    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.planning.identity.part_versions", lambda section: {})
        sweep.finish_everything()
    sweep.save_plan()
    return sweep


def test_a_training_that_was_corrected_says_what_was_wrong(augmented_before: Any, console: Any) -> None:
    training = augmented_before.plan().trainings[0]
    assert why(augmented_before, training.train_id, console)[-1] == (
        "augmentation was corrected in 0.5.0: images were turned, "
        "scaled and stretched about a point up to 0.4 pixels off"
    )


def test_a_cell_whose_training_was_corrected_says_so_too(augmented_before: Any, console: Any) -> None:
    cell = augmented_before.plan().cells[0]
    told = why(augmented_before, cell.cell_id, console)
    assert told[-2].startswith("train_id: ")
    assert told[-1].startswith("augmentation was corrected in 0.5.0")


def test_why_ignores_an_empty_list_that_older_versions_left_out() -> None:
    here: dict[str, JsonValue] = {"eval.metrics": [], "sample.eta": 0.0}
    assert different(here, {"sample.eta": 0.0}) == []
    assert different(here, {}) == ["sample.eta"]
    assert different({"eval.metrics": ["energy"]}, {}) == ["eval.metrics"]
