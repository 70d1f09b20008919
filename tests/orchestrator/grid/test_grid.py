"""Grid files become the right experiments: what each part of the format means."""

import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.samplers.ddim import Ddim
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.heun import Heun
from orchestrator.errors import GridError
from orchestrator.grid import Point, Sweep, expand, load_sweep, points_for, search_dimensions
from orchestrator.grid.recipe import PACKAGED, read_recipe

ANCHOR = """
data: {name: digits}
model: {kind: ddpmpp, channels: 32, channel_mult: [1, 2], num_blocks: 1, attention_resolutions: [4],
        dropout: 0.05}
objective: {kind: edm}
train: {total_kimg: 400, snapshot_kimg: 100}
sample: {kind: heun, num_steps: 18}
eval: {num_samples: 513}
"""


EDM_LEVELS = (0.002, 80.0)
"""What the anchor's network is shown [P3]; a chain that goes further is held to it."""


def sweep_of(folder: Path, text: str, varies: str = "scale", smoke: bool = False) -> Sweep:
    """A sweep around ANCHOR from the lines that follow its required keys;
    its smoke overlay sets total_kimg and lr."""
    for kind, content in [("recipes", ANCHOR), ("smoke", "train: {total_kimg: 111, lr: 0.5}")]:
        (folder / kind).mkdir()
        (folder / kind / "edm_digits.yaml").write_text(content)
    path = folder / "grid.yaml"
    path.write_text(f"schema: orch/grid@1\nname: test\nrecipe: edm_digits\nvaries: {varies}\n{text}\n")
    return load_sweep(path, smoke=smoke)


def points_of(folder: Path, text: str, varies: str = "scale") -> tuple[Point, ...]:
    return expand(sweep_of(folder, text, varies=varies))


def axes_of(points: tuple[Point, ...]) -> list[tuple[object, ...]]:
    return [tuple(point.axes.values()) for point in points]


# What the format means.


def test_axes_multiply_in_the_order_of_the_file(tmp_path: Path) -> None:
    points = points_of(tmp_path, "axes: {train.lr: [1, 2], model.channels: [64, 96]}")
    assert axes_of(points) == [(1, 64), (1, 96), (2, 64), (2, 96)]


def test_no_axes_mean_one_point_that_is_the_recipe(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, "")
    (point,) = expand(sweep)
    assert (point.experiment, point.axes, point.linked, point.off_playbook) == (sweep.anchor, {}, {}, ())


def test_zip_moves_together_and_multiplies_with_axes_and_points(tmp_path: Path) -> None:
    text = (
        "axes: {objective.p_std: [1, 2]}\nzip: [{objective.p_mean: [-1, -2], objective.sigma_data: [1, 2]}]\n"
    )
    assert axes_of(points_of(tmp_path, text, varies="objective")) == [
        (1, -1, 1),
        (1, -2, 2),
        (2, -1, 1),
        (2, -2, 2),
    ]


def test_points_are_taken_as_written_and_the_rest_is_the_recipe(tmp_path: Path) -> None:
    text = "points:\n  - {objective.p_mean: -1, objective.p_std: 2}\n  - {objective.p_mean: -3}"
    assert axes_of(points_of(tmp_path, text, varies="objective")) == [(-1, 2), (-3, 1.2)]


def test_one_at_a_time_counts_the_anchor_once(tmp_path: Path) -> None:
    text = (
        "enumerate: one_at_a_time\nset: {model.channels: "
        "96}\naxes: {model.channels: [64, 96], train.lr: [1, 2, 3]}"
    )
    assert axes_of(points_of(tmp_path, text)) == [(96, 1e-3), (64, 1e-3), (96, 1), (96, 2), (96, 3)]


def test_when_adds_axes_only_where_its_condition_holds(tmp_path: Path) -> None:
    text = (
        "axes: {sample.kind: [heun, edm_stochastic]}\n"
        "when: [{if: {sample.kind: edm_stochastic}, axes: {sample.s_churn: [10, 20]}}]"
    )
    points = points_of(tmp_path, text, varies="sampler")
    assert axes_of(points) == [("heun",), ("edm_stochastic", 10), ("edm_stochastic", 20)]


def test_exclude_drops_points_that_match_every_field_of_an_entry(tmp_path: Path) -> None:
    text = (
        "set: {sample.kind: edm_stochastic}\n"
        "axes: {sample.s_churn: [0, 10], sample.s_noise: [1, 1.001, 1.002]}\n"
        "exclude: [{sample.s_churn: 0, sample.s_noise: [1.001, 1.002]}]"
    )
    points = points_of(tmp_path, text, varies="sampler")
    assert axes_of(points) == [(0, 1), (10, 1), (10, 1.001), (10, 1.002)]


def test_exclude_reads_a_list_as_value_and_as_choices(tmp_path: Path) -> None:
    text = "axes: {model.num_blocks: [1, 2, 3, [2, 3]]}\nexclude: [{model.num_blocks: [2, 3]}]"
    assert axes_of(points_of(tmp_path, text, varies="architecture")) == [(1,)]


def test_exclude_takes_a_list_as_one_value_where_the_field_is_a_list(tmp_path: Path) -> None:
    text = "axes: {model.channel_mult: [[1, 2], [1, 1]]}\nexclude: [{model.channel_mult: [1, 2]}]"
    assert axes_of(points_of(tmp_path, text, varies="architecture")) == [((1, 1),)]


def test_panel_lists_multiply_inside_an_entry_and_replace_the_recipes_sampler(tmp_path: Path) -> None:
    text = (
        "axes: {model.channels: [64, 96]}\n"
        "panel:\n  - {kind: heun, num_steps: [5, 10], rho: 5}\n  - {kind: ddim, num_steps: 50}"
    )
    points = points_of(tmp_path, text)
    panel = [Heun(num_steps=5, rho=5), Heun(num_steps=10, rho=5), Ddim(num_steps=50).within(EDM_LEVELS)]
    assert [(point.axes["model.channels"], point.experiment.sample) for point in points] == [
        (channels, sampler) for channels in (64, 96) for sampler in panel
    ]


def test_seeds_multiply_and_reach_training_and_sampling(tmp_path: Path) -> None:
    points = points_of(tmp_path, "seeds: {train: [3, 4], sample: [7, 8]}")
    seeds = [(point.experiment.train.seed, point.experiment.eval.sample_seed) for point in points]
    assert seeds == [(3, 7), (3, 8), (4, 7), (4, 8)]


def test_changing_the_kind_keeps_shared_fields_and_defaults_the_others(tmp_path: Path) -> None:
    text = "set: {sample.num_steps: 40, sample.rho: 5}\naxes: {sample.kind: [edm_stochastic, ddim]}"
    stochastic, ddim = (point.experiment.sample for point in points_of(tmp_path, text, varies="sampler"))
    assert stochastic == EdmStochastic(num_steps=40, rho=5)
    assert ddim == Ddim(num_steps=40).within(EDM_LEVELS)


def test_linked_values_follow_the_anchor_after_set(tmp_path: Path) -> None:
    text = "set: {train.lr: 0.01, model.channels: 64}\naxes: {model.channels: [64, 96]}\n"
    text += "linked: {train.lr: lr_from_channels}"
    assert [point.linked["train.lr"] for point in points_of(tmp_path, text)] == [
        0.01,
        0.01 / math.sqrt(96 / 64),
    ]


def test_off_playbook_lists_fixed_and_varied_values(tmp_path: Path) -> None:
    text = "off_playbook: true\nset: {model.dropout: 0.15}\naxes: {model.channels: [64, 160]}"
    first, second = points_of(tmp_path, text)
    assert first.off_playbook == ("model.dropout = 0.15",)
    assert second.off_playbook == ("model.dropout = 0.15", "model.channels = 160")


def test_recipes_own_values_need_no_level(tmp_path: Path) -> None:
    assert sweep_of(tmp_path, "").anchor.model.channels == 32


def test_a_recipe_beside_the_grid_comes_before_the_packaged_one_of_its_name(tmp_path: Path) -> None:
    assert read_recipe(PACKAGED / "recipes" / "edm_digits.yaml").eval.num_samples != 513
    assert sweep_of(tmp_path, "").anchor.eval.num_samples == 513


def test_smoke_comes_after_set_and_before_axes(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, "set: {train.lr: 0.1}\naxes: {train.lr: [2, 3]}", smoke=True)
    assert (sweep.anchor.train.lr, sweep.anchor.train.total_kimg) == (0.5, 111)
    assert [point.experiment.train.lr for point in expand(sweep)] == [2, 3]


# Search.


def test_search_chooses_among_axes_zip_groups_and_points(tmp_path: Path) -> None:
    text = (
        "axes: {objective.p_std: [1, 2]}\nzip: [{objective.p_mean: [-1, -2], objective.sigma_data: [1, 2]}]\n"
        "points: [{objective.kind: edm}]\nsearch: {num_trials: 3}"
    )
    assert search_dimensions(sweep_of(tmp_path, text, varies="objective")) == [
        ("objective.p_std", ({"objective.p_std": 1}, {"objective.p_std": 2})),
        (
            "objective.p_mean + objective.sigma_data",
            (
                {"objective.p_mean": -1, "objective.sigma_data": 1},
                {"objective.p_mean": -2, "objective.sigma_data": 2},
            ),
        ),
        ("points", ({"objective.kind": "edm"},)),
    ]


def test_points_for_one_choice_are_those_of_the_whole_grid(tmp_path: Path) -> None:
    text = (
        "axes: {model.channels: [64, 96]}\nseeds: {train: [1, 2]}\nlinked: {train.lr: lr_from_channels}\n"
        "panel: [{kind: heun, num_steps: [5, 10]}]\nsearch: {num_trials: 2}"
    )
    sweep = sweep_of(tmp_path, text)
    assert points_for(sweep, {"model.channels": 64}) + points_for(sweep, {"model.channels": 96}) == expand(
        sweep
    )


def test_points_for_a_choice_that_does_not_fit_names_the_place(tmp_path: Path) -> None:
    sweep = sweep_of(
        tmp_path, "set: {sample.kind: ddim}\naxes: {sample.num_steps: [5, 2000]}", varies="sampler"
    )
    with pytest.raises(GridError, match=r"grid.yaml:6:30 axes.sample.num_steps\[1\]: num_steps 2000 exceeds"):
        points_for(sweep, {"sample.num_steps": 2000})


# Cost.


@pytest.mark.slow
def test_full_table_5_grid_expands_to_its_distinct_points(tmp_path: Path) -> None:
    text = (PACKAGED / "edm_stochastic.yaml").read_text().replace("enumerate: one_at_a_time\n", "")
    (tmp_path / "full.yaml").write_text(text)
    points = expand(load_sweep(tmp_path / "full.yaml"))
    assert len(points) == len({tuple(point.axes.values()) for point in points}) == 11 * 12 * 9 * 11


def test_a_grid_of_a_billion_points_is_refused_without_expanding_it(tmp_path: Path) -> None:
    """Building 1e9 points would take hours and all memory;
    10 s is far from both and from the milliseconds it takes."""
    values = list(range(1, 1001))
    text = f"axes:\n  train.lr: {values}\n  train.batch_size: {values}\n  train.lr_rampup_kimg: {values}"
    started = time.perf_counter()
    with pytest.raises(GridError, match="1,000,000,000 points; the limit is 100,000"):
        points_of(tmp_path, text, varies="optimisation")
    assert time.perf_counter() - started < 10


def test_reading_grids_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pathlib import Path; from orchestrator.grid import expand, load_sweep; "
        f"expand(load_sweep(Path({str(PACKAGED / 'quickstart.yaml')!r}))); "
        "heavy = {'torch', 'ray', 'numpy', 'pandas', 'pyarrow', 'mlflow', 'optuna'} & set(sys.modules); "
        "sys.exit(f'imported {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
