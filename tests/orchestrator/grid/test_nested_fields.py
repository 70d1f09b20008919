"""Fields of sections inside sections: an inner kind brings
its own fields and their defaults, an outer one decides."""

from pathlib import Path
from typing import Any

import pytest

from engine.config.experiment import Consistency, Experiment, Start
from engine.config.train import AdaptiveClip, GlobalNormClip, ValueClip
from engine.config.weights import EmaWeights, PowerWeights, RawWeights
from engine.objectives.edm import EdmObjective
from engine.objectives.flow import FlowObjective
from engine.objectives.regression import RegressionObjective
from engine.objectives.vlb import VlbObjective
from engine.process.noise_levels import LogitNormal, LogNormal, LogUniform, LossSecondMoment, UniformTime
from engine.process.processes import DiscreteProcess, EdmProcess, FlowProcess
from engine.process.weighting import MinSnrWeight, UniformWeight
from orchestrator.grid import Point, expand, load_sweep
from orchestrator.grid.override import InvalidFields, changed
from orchestrator.grid.recipe import PACKAGED, read_recipe


def recipe(name: str = "edm_digits") -> Experiment:
    return read_recipe(PACKAGED / "recipes" / f"{name}.yaml")


def points_of(folder: Path, varies: str, text: str, name: str = "edm_digits") -> tuple[Point, ...]:
    path = folder / "grid.yaml"
    path.write_text(f"schema: orch/grid@1\nname: test\nrecipe: {name}\nvaries: {varies}\n{text}\n")
    return expand(load_sweep(path))


# One change.


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"kind": "regression"}, RegressionObjective(sigma_data=0.3)),
        ({"kind": "vlb", "noise_levels.history": 5}, VlbObjective(noise_levels=LossSecondMoment(history=5))),
        (
            {"weighting.gamma": 1.0, "weighting.kind": "min_snr", "kind": "regression"},
            RegressionObjective(sigma_data=0.3, weighting=MinSnrWeight(gamma=1.0)),
        ),
        (
            {
                "process.kind": "flow",
                "noise_levels.std": 2,
                "noise_levels.kind": "logit_normal",
                "kind": "regression",
            },
            RegressionObjective(sigma_data=0.3, process=FlowProcess(), noise_levels=LogitNormal(std=2.0)),
        ),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_inner_fields_follow_the_new_kind_in_any_order(fields: dict[str, Any], expected: Any) -> None:
    anchor = recipe().model_copy(update={"objective": EdmObjective(sigma_data=0.3)})
    assert (
        changed(anchor, {f"objective.{field}": value for field, value in fields.items()}).objective
        == expected
    )


def test_an_inner_kind_keeps_what_both_have_and_defaults_the_rest() -> None:
    levels = LogUniform(sigma_min=0.1, sigma_max=9.0, stratified=True)
    anchor = recipe().model_copy(update={"objective": RegressionObjective(noise_levels=levels)})
    other = changed(anchor, {"objective.noise_levels.kind": "log_normal"}).objective
    # A log-normal distribution may be cut, and has the fields for it.
    kept = LogNormal(stratified=True, sigma_min=0.1, sigma_max=9.0)
    assert other == RegressionObjective(noise_levels=kept)


def test_a_new_outer_kind_keeps_only_inner_sections_it_has() -> None:
    logit, log = (
        RegressionObjective(noise_levels=levels) for levels in (LogitNormal(std=2.0), LogNormal(std=2.0))
    )
    for written, expected in ((logit, LogitNormal(std=2.0)), (log, UniformTime())):
        flow = changed(
            recipe().model_copy(update={"objective": written}), {"objective.kind": "flow"}
        ).objective
        assert flow == FlowObjective(noise_levels=expected)


def test_an_inner_kind_that_the_grid_itself_asks_for_is_never_dropped() -> None:
    anchor = recipe().model_copy(update={"objective": RegressionObjective()})
    with pytest.raises(InvalidFields) as caught:
        changed(anchor, {"objective.noise_levels.kind": "log_normal", "objective.kind": "flow"})
    assert [fault.path for fault in caught.value.faults] == [("objective", "noise_levels", "kind")]


def test_a_section_that_is_off_begins_with_its_defaults() -> None:
    anchor = recipe()
    assert (anchor.eval.consistency, anchor.train.grad_clip) == (None, None)
    assert changed(anchor, {"eval.consistency.num_steps": 50}).eval.consistency == Consistency(num_steps=50)
    clip = changed(
        anchor, {"train.grad_clip.max_norm": 2.0, "train.grad_clip.kind": "global_norm"}
    ).train.grad_clip
    assert clip == GlobalNormClip(max_norm=2.0)


def test_a_start_can_be_shortened_or_given_to_a_recipe_that_has_none() -> None:
    head = recipe("ocm_digits")
    assert head.start is not None
    shorter = changed(head, {"start.train.total_kimg": 64.0}).start
    assert shorter == head.start.model_copy(
        update={"train": head.start.train.model_copy(update={"total_kimg": 64.0})}
    )
    train = {"start.train.total_kimg": 8.0, "start.train.snapshot_kimg": 4.0}
    given = changed(recipe(), {"start.objective.kind": "simple", **train}).start
    assert isinstance(given, Start)
    assert (given.objective.kind, given.train.total_kimg, given.model) == ("simple", 8, None)


# Whole grids.


def test_axes_over_inner_kinds_with_the_fields_that_depend_on_them(tmp_path: Path) -> None:
    text = """
axes: {objective.kind: [edm, regression]}
when:
  - if: {objective.kind: regression}
    axes: {objective.process.kind: [discrete, edm], objective.weighting.kind: [uniform, min_snr]}
  - if: {objective.process.kind: discrete}
    axes: {objective.process.schedule: [cosine]}
  - if: {objective.process.kind: edm}
    axes: {objective.target: [F], objective.noise_levels.kind: [log_normal]}
  - if: {objective.weighting.kind: min_snr}
    axes: {objective.weighting.gamma: [1, 5]}
"""
    objectives = [point.experiment.objective for point in points_of(tmp_path, "objective", text)]
    weightings = [UniformWeight(), MinSnrWeight(gamma=1.0), MinSnrWeight(gamma=5.0)]
    chain = {"process": DiscreteProcess(schedule="cosine")}
    edm = {"process": EdmProcess(), "target": "F", "noise_levels": LogNormal()}
    assert objectives == [EdmObjective()] + [
        RegressionObjective.model_validate({**parts, "weighting": weighting, "sigma_data": 0.5})
        for parts in (chain, edm)
        for weighting in weightings
    ]


def test_a_kind_whose_fields_have_no_default_gets_them_from_when(tmp_path: Path) -> None:
    text = """
axes: {train.grad_clip.kind: [global_norm, value, adaptive]}
when:
  - {if: {train.grad_clip.kind: global_norm, model.kind: ddpmpp}, axes: {train.grad_clip.max_norm: [1, 2]}}
  - {if: {train.grad_clip.kind: value}, axes: {train.grad_clip.max_value: [0.1]}}
"""
    clips = [point.experiment.train.grad_clip for point in points_of(tmp_path, "optimisation", text)]
    assert clips == [
        GlobalNormClip(max_norm=1),
        GlobalNormClip(max_norm=2),
        ValueClip(max_value=0.1),
        AdaptiveClip(),
    ]


def test_axes_over_kinds_of_weights(tmp_path: Path) -> None:
    text = """
set: {train.keep_raw: true, train.ema_power: [0.05, 0.1]}
axes: {weights.kind: [ema, power, raw]}
when: [{if: {weights.kind: power}, axes: {weights.sigma_rel: [0.05, 0.15]}}]
"""
    points = points_of(tmp_path, "weights", text)
    assert [point.experiment.weights for point in points] == [
        EmaWeights(), PowerWeights(sigma_rel=0.05), PowerWeights(sigma_rel=0.15), RawWeights(),
    ]  # fmt: skip
    assert [point.axes for point in points][2] == {"weights.kind": "power", "weights.sigma_rel": 0.15}


def test_set_reaches_sections_that_are_off_and_the_start(tmp_path: Path) -> None:
    text = "set: {start.train.total_kimg: 64, eval.consistency.num_steps: 20}"
    (point,) = points_of(tmp_path, "sampler", text, name="ocm_digits")
    assert point.experiment.start is not None
    assert point.experiment.start.train.total_kimg == 64
    assert point.experiment.eval.consistency == Consistency(num_steps=20)


def test_each_sampler_of_a_panel_is_checked_with_each_training(tmp_path: Path) -> None:
    """What fits is accepted beside what is only refused elsewhere:
    learned_range where a variance is learned."""
    panel = "panel: [{kind: ddpm, num_steps: 5, schedule: cosine, covariance: [beta, learned_range]}]"
    points = points_of(
        tmp_path, "objective", f"axes: {{objective.kind: [hybrid, vlb]}}\n{panel}", name="iddpm_digits"
    )
    assert len(points) == 4
