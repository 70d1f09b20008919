"""Trainings that start from another one: planned once and first, measured with samplers that suit."""

from typing import Any

from orchestrator.planning.plan import Plan
from orchestrator.planning.unit import Unit

AXES = "axes: {sample.covariance: [ocm, beta]}"
SCALE = "varies: scale\noff_playbook: true\naxes: {model.channels: [8, 16]}"


def counts(plan: Plan) -> tuple[int, int, int]:
    return plan.num_points, len(plan.cells), len(plan.trainings)


def test_a_parent_is_planned_once_and_first_and_cells_depend_on_the_child(head: Any) -> None:
    plan = head.plan()
    parent, child = plan.trainings
    assert counts(plan) == (2, 2, 2)
    assert (child.parent_id, parent.parent_id) == (parent.train_id, "")
    assert all(cell.training is child for cell in plan.cells)
    assert (parent.label, child.label) == ("start training", "the recipe")
    assert (parent.experiment.objective.kind, parent.experiment.start) == ("simple", None)


def test_several_children_share_one_parent_unless_it_varies_too(head: Any) -> None:
    heads = head.changed(
        AXES, "axes: {objective.head: [simple, complex]}\nseeds: {train: [0, 1]}", "objective"
    )
    assert [unit.label for unit in heads.plan().trainings] == [
        "start training", "head simple", "head simple, seed 1", "head complex", "head complex, seed 1",
    ]  # fmt: skip
    widths = head.changed(AXES, "off_playbook: true\naxes: {model.channels: [8, 16]}", "scale")
    assert [unit.label for unit in widths.plan().trainings] == [
        "start training, channels 8", "channels 8", "start training, channels 16", "channels 16",
    ]  # fmt: skip


def test_measure_start_uses_the_samplers_valid_for_the_parent(head: Any) -> None:
    plan = head.changed("\naxes:", "\nmeasure_start: true\naxes:").plan()
    parent = plan.trainings[0]
    assert [cell.training.label for cell in plan.cells] == ["the recipe", "the recipe", "start training"]
    assert [cell.experiment.sample.covariance for cell in plan.cells if cell.training is parent] == ["beta"]


def test_the_parents_unit_is_readable_when_its_sampler_needs_the_child(head: Any) -> None:
    """The child's sampler may need what only the child learns;
    its parent is sampled only to choose a snapshot."""
    plan = head.plan()
    assert plan.cells[0].experiment.sample.covariance == "ocm"
    for unit in plan.trainings:
        told = Unit.from_json(Unit.of_training(unit, "runs", None, 1).to_json())
        assert (told.spec, told.parent_id) == (unit.experiment, unit.parent_id)
    told = Unit.from_json(Unit.of_cell(plan.cells[0], "runs", None, 1).to_json())
    assert (told.spec, told.parent_id) == (plan.cells[0].experiment, plan.trainings[0].train_id)


def test_a_parent_that_another_sweep_has_trained_is_cached(head: Any) -> None:
    start = head.sweep.source.split("axes:")[0]
    alone = "".join(line for line in start.splitlines(keepends=True) if "objective.kind: ocm" not in line)
    other = head.changed(head.sweep.source, alone.replace("start.", ""))
    (unit,) = other.plan().trainings
    assert head.plan().training_state(head.plan().trainings[0]) == "train"
    other.finish_training(unit)
    plan = head.plan()
    assert plan.trainings[0].train_id == unit.train_id
    assert [plan.training_state(unit) for unit in plan.trainings] == ["cached", "train"]
    assert plan.missing_trainings == plan.trainings[1:]
