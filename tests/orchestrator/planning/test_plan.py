"""From grid points to distinct units of work, and which of them are left to do."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.commands.options import make_console
from orchestrator.console.plan_view import show_few_images
from orchestrator.grid import load_sweep
from orchestrator.grid.override import changed
from orchestrator.grid.recipe import PACKAGED
from orchestrator.planning.plan import Plan
from orchestrator.planning.training import describe
from orchestrator.search.current_plan import whole_plan
from orchestrator.storage.store import Store

SCALE = "varies: scale\noff_playbook: true\naxes: {model.channels: [8, 16]}"
SET = "{train.keep_raw: true, train.ema_extra_halflives_kimg: [2], train.ema_power: [0.05]}"
WEIGHTS = """points:
  - {weights.kind: raw}
  - {weights.kind: ema}
  - {weights.kind: ema, weights.halflife_kimg: 2}
  - {weights.kind: power, weights.sigma_rel: 0.05}
"""


def shipped(name: str, tmp_path: Path) -> Plan:
    sweep = load_sweep(PACKAGED / f"{name}.yaml")
    return whole_plan(sweep, Store.open(tmp_path))


def counts(plan: Plan) -> tuple[int, int, int]:
    return plan.num_points, len(plan.cells), len(plan.trainings)


# Shipped grids.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("quickstart", (16, 16, 2)),
        ("unet_channels", (16, 16, 4)),
        ("dropout_schedule", (12, 12, 6)),
        ("objectives", (150, 150, 5)),
        ("learned_variance", (32, 32, 2)),
        ("ocm_variance", (12, 12, 2)),
        ("ema_lengths", (10, 10, 1)),
        ("attention_placement", (6, 6, 3)),
        ("capacity", (3, 3, 3)),
        ("edm_networks", (2, 2, 2)),
        ("dydit_flops", (7, 7, 7)),
        ("few_step", (24, 24, 2)),
        ("edm_baselines", (36, 36, 2)),
        ("few_step_solvers", (65, 65, 1)),
        ("scaling_law", (5, 5, 5)),
        ("loss_gap", (4, 4, 4)),
    ],
)
def test_shipped_grid_has_points_cells_and_trainings_as_it_says(
    name: str, expected: tuple[int, int, int], tmp_path: Path
) -> None:
    plan = shipped(name, tmp_path)
    assert counts(plan) == expected
    assert (plan.missing_cells, plan.missing_trainings) == (plan.cells, plan.trainings)
    assert plan.num_collapsed == expected[0] - expected[1]


def test_attention_at_a_missing_resolution_changes_no_identity(tmp_path: Path) -> None:
    sweep = load_sweep(PACKAGED / "attention_placement.yaml", smoke=True)
    plan = whole_plan(sweep, Store.open(tmp_path))
    assert counts(plan) == (6, 4, 2)
    assert {cell.reasons for cell in plan.cells if len(cell.points) > 1} == {
        ("images of 8 pixels have levels of 8, 4: attention acts at none of them",)
    }


def test_shipped_budget_grid_fine_tunes_one_dit_and_measures_it_too(tmp_path: Path) -> None:
    plan = shipped("dydit_flops", tmp_path)
    static, *routed = plan.trainings
    assert (static.label, static.experiment.model.kind) == ("start training", "dit")
    assert {unit.parent_id for unit in routed} == {static.train_id}
    assert [unit.experiment.model.flops_ratio for unit in routed] == [0.9, 0.8, 0.7, 0.5, 0.4, 0.3]
    assert plan.cells[-1].training is static
    assert len({cell.experiment.sample for cell in plan.cells}) == 1


def test_shipped_churn_grid_is_one_training_and_every_collapse_has_its_reason(tmp_path: Path) -> None:
    plan = shipped("edm_stochastic", tmp_path)
    assert (plan.num_points, len(plan.trainings)) == (40, 1)
    assert len(plan.cells) + plan.num_collapsed == 40
    collapsed = [cell for cell in plan.cells if len(cell.points) > 1]
    assert collapsed
    assert all(cell.reasons and "same point" not in " ".join(cell.reasons) for cell in collapsed)
    assert all(not cell.reasons for cell in plan.cells if len(cell.points) == 1)


@pytest.mark.slow
def test_full_table_5_grid_at_18_steps_is_859_samplers_and_one_training(tmp_path: Path) -> None:
    text = (PACKAGED / "edm_stochastic.yaml").read_text()
    full = text.replace("enumerate: one_at_a_time\n", "").replace("num_steps: 256", "num_steps: 18")
    (tmp_path / "full.yaml").write_text(full)
    sweep = load_sweep(tmp_path / "full.yaml")
    plan = whole_plan(sweep, Store.open(tmp_path / "runs"))
    assert counts(plan) == (11 * 12 * 9 * 11, 859, 1)
    reasons = {reason for cell in plan.cells for reason in cell.reasons}
    assert "s_churn = 0 is Heun: s_tmin, s_tmax and s_noise do nothing" in reasons
    assert "gamma saturates at sqrt(2) - 1: s_churn above 7.46 is one sampler at 18 steps" in reasons


# What a plan warns of.


def test_a_plan_warns_before_it_spends_when_images_are_too_few_for_the_features(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = shipped("quickstart", tmp_path).sweep.anchor
    show_few_images(rule, make_console())
    assert capsys.readouterr().out == ""
    few = changed(
        rule, {"eval.extractor": "inception", "eval.num_samples": 2048, "eval.selection.num_samples": 2049}
    )
    show_few_images(few, make_console())
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "few images: eval.num_samples = 2,048, images of digits = 1,797, but inception features have 2,048"
        in text
    )
    assert "biased upwards" in text


# Collapsing.


def test_equivalent_points_are_one_cell_that_knows_them_and_says_why(fake: Any) -> None:
    plan = fake.plan()
    assert counts(plan) == (8, 4, 2)
    deterministic, stochastic = (cell for cell in plan.cells if cell.axes["model.channels"] == 8)
    assert [point["model.channels"] for point in deterministic.points] == [8, 8]
    assert deterministic.reasons == ("s_churn = 0 is Heun: s_tmin, s_tmax and s_noise do nothing",)
    assert deterministic.experiment.sample.kind == "heun"  # the first point speaks for the cell
    assert any(reason.startswith("gamma saturates at sqrt(2) - 1") for reason in stochastic.reasons)
    assert plan.num_collapsed == 4


def test_a_point_listed_twice_is_one_cell_and_says_so(fake: Any) -> None:
    points = "points: [{model.channels: 8}, {train.lr: 0.002}]"  # both are the recipe
    cell = fake.changed("axes: {model.channels: [8, 16]}", points).changed("[0, 5, 6]", "5").plan().cells[0]
    assert (len(cell.points), cell.reasons) == (2, ("the same point is listed twice",))


def test_seeds_of_sampling_share_the_training_and_its_snapshot(fake: Any) -> None:
    plan = fake.changed("panel:", "seeds: {sample: [0, 1, 2]}\npanel:").plan()
    assert counts(plan) == (24, 12, 2)
    assert {cell.training.selection_id for cell in plan.cells} == {
        unit.selection_id for unit in plan.trainings
    }
    assert len({cell.protocol_id for cell in plan.cells}) == 1


def test_seeds_of_training_are_trainings_of_their_own(fake: Any) -> None:
    assert counts(fake.changed("panel:", "seeds: {train: [0, 1, 2]}\npanel:").plan()) == (24, 12, 6)


def test_weight_averages_share_one_training(fake: Any) -> None:
    plan = fake.changed(SCALE, f"varies: weights\noff_playbook: true\nset: {SET}\n{WEIGHTS}").plan()
    assert counts(plan) == (16, 8, 1)
    assert [cell.label for cell in plan.cells][::2] == [
        "raw weights · Heun 3",
        "Heun 3",
        "ema, half-life 2 kimg · Heun 3",
        "power-function ema, width 0.05 · Heun 3",
    ]


def test_equal_weights_written_twice_are_one_cell_that_says_why(fake: Any) -> None:
    # 1 kimg is the recipe's half-life.
    points = "points: [{weights.kind: ema}, {weights.kind: ema, weights.halflife_kimg: 1}]"
    plan = fake.changed(SCALE, f"varies: weights\noff_playbook: true\n{points}").plan()
    own = "weights ema with half-life 1 kimg are the training's own average"
    plain, churned = plan.cells
    assert counts(plan) == (8, 2, 1)
    assert plain.reasons == ("s_churn = 0 is Heun: s_tmin, s_tmax and s_noise do nothing", own)
    assert (churned.reasons[-1], len(churned.points)) == (own, 4)


def test_a_collapse_is_not_explained_by_what_all_points_share(fake: Any) -> None:
    points = "points: [{weights.kind: ema}, {weights.kind: ema, weights.halflife_kimg: 1}]"
    weights = fake.changed(SCALE, f"varies: weights\noff_playbook: true\n{points}")
    deterministic = weights.changed("  - {kind: heun, num_steps: 3}\n", "").plan().cells[0]
    assert deterministic.experiment.sample.canonical().reasons  # churn 0 is Heun, but no point says Heun
    assert deterministic.reasons == ("weights ema with half-life 1 kimg are the training's own average",)


# Words and imports.


def test_labels_name_what_varies_in_short_words(fake: Any) -> None:
    plan = fake.plan()
    assert [unit.label for unit in plan.trainings] == ["channels 8", "channels 16"]
    assert plan.cells[0].label == "channels 8 · Heun 3"
    assert describe({"train.lr": 0.00025, "model.channel_mult": (1, 2)}) == "lr 0.00025, channel_mult 1-2"
    assert describe({"model.attention_resolutions": ()}) == "attention_resolutions none"
    kinds = {"objective.kind": "regression", "objective.weighting.kind": "min_snr"}
    assert describe(kinds) == "objective regression, weighting min_snr"


def test_a_training_that_nothing_varies_is_the_recipe(tmp_path: Path) -> None:
    (unit,) = shipped("edm_stochastic", tmp_path).trainings
    assert (unit.label, unit.axes) == ("the recipe", {})


def test_planning_imports_neither_ray_nor_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from orchestrator.grid import expand, load_sweep; "
        "from orchestrator.planning.make_plan import make_plan; "
        f"sweep = load_sweep(Path({str(PACKAGED / 'quickstart.yaml')!r})); "
        "make_plan(sweep, expand(sweep)); "
        "heavy = {'torch', 'ray', 'pandas', 'mlflow', 'optuna'} & set(sys.modules); "
        "sys.exit(f'imported {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_an_axis_that_changes_nothing_is_named(fake: Any) -> None:
    text = fake.sweep.source
    axes = text[text.index("axes:") :]
    kind = "set: {sample.kind: edm_stochastic, sample.s_churn: 0}"
    inert = f"axes: {{sample.s_noise: [1.0, 1.003], sample.num_steps: [3, 4]}}\n{kind}\n"
    assert fake.changed(axes, inert, varies="sampler").plan().idle_axes == ("sample.s_noise",)
    churned = inert.replace("s_churn: 0", "s_churn: 1")
    assert fake.changed(axes, churned, varies="sampler").plan().idle_axes == ()
