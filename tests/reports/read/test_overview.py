"""Folding rows into configurations, and which sampler trainings are compared at."""

import math

import pytest

from reports.errors import ReportError
from reports.read.grouping import overview

HEUN = {"kind": "heun", "num_steps": 18}
CHURN = {"kind": "edm_stochastic", "num_steps": 18, "s_churn": 30.0}


def test_seeds_are_folded_and_configurations_keep_the_grid_order(seeded_sweep):
    seen = overview(seeded_sweep.read())
    assert seen.trainings == ("C = 16", "C = 32")
    assert len(seen.configurations) == 10
    assert all(one.metrics["fd_classifier"].seeds == 3 for one in seen.configurations)
    assert seen.configurations[0].train_ids == ("t-16-s0", "t-16-s1", "t-16-s2")


def test_the_reference_is_the_dearest_deterministic_heun(scale_sweep):
    assert overview(scale_sweep.read()).reference_sampler == "Heun 40"


def test_a_sampler_that_one_training_lacks_is_not_the_reference(write, make_scale_cells):
    cells = [c for c in make_scale_cells() if c["cell_id"] != "he40-t-16-s0"]
    assert len(cells) == 9
    assert overview(write(cells).read()).reference_sampler == "Heun 18"


def test_without_deterministic_samplers_the_dearest_one_is_the_reference(write, make_cell):
    cells = [make_cell({"sample.num_steps": n}, {**CHURN, "num_steps": n}, 5.0) for n in (18, 40)]
    assert overview(write(cells).read()).reference_sampler == "EDM 40 churn 30"


def test_the_baseline_of_a_stochastic_sampler_has_its_cost_and_training(write, make_cell):
    euler = make_cell({"model.channels": 16}, {"kind": "euler", "num_steps": 35}, 1.0)
    cells = [euler] + [make_cell({"model.channels": c}, s, 5.0) for c in (16, 32) for s in (HEUN, CHURN)]
    seen = overview(write(cells).read())
    churned = next(
        one for one in seen.configurations if one.family == "EDM stochastic" and one.training == "C = 32"
    )
    assert seen.baseline(churned).sampler_label == "Heun 18"
    assert seen.baseline(churned).training == "C = 32"


def test_a_training_without_the_swept_field_is_its_own_configuration(write, make_cell):
    cells = [
        make_cell(axes, HEUN, distance) for axes, distance in (({"model.flops_ratio": 0.5}, 3.0), ({}, 5.0))
    ]
    seen = overview(write(cells).read())
    assert [one.mean("fd_classifier") for one in seen.configurations] == [3.0, 5.0]
    assert seen.varied == {"model.flops_ratio": (0.5,)}


def test_the_panel_sampler_of_a_collapsed_point_is_no_swept_field(write, make_cell):
    cells = [make_cell({"model.channels": c}, HEUN, 5.0) for c in (16, 32)]
    points = [{"model.channels": 16, "sampler": "Heun 18"}, {"model.channels": 24, "sampler": "Heun 18"}]
    collapsed = [{"cell_id": cells[0]["cell_id"], "points": points, "reason": "the same network"}]
    assert overview(write(cells, collapsed=collapsed).read()).varied == {"model.channels": (16, 24, 32)}


def test_weight_averages_are_configurations_of_one_training(write, make_cell):
    cells = []
    for channels in (16, 32):
        for halflife in (1, 2, 4):
            axes = {"model.channels": channels, "weights.halflife_kimg": halflife}
            train_id = f"t-{channels}"
            cells.append(
                make_cell(axes, HEUN, 5.0 + halflife, train_id=train_id, weights=f"ema, {halflife} kimg")
            )
            cells[-1]["cell_id"] = f"c-{channels}-{halflife}"
    seen = overview(write(cells).read())
    assert seen.trained == ("C = 16", "C = 32")
    assert seen.trained_fields == ("model.channels",)
    assert len(seen.trainings) == len(seen.configurations) == 6
    assert seen.trainings[0] == "C = 16, EMA half-life (kimg) = 1"
    assert set(seen.varied) == {"model.channels", "weights.halflife_kimg"}


def test_a_training_with_only_averages_varied_is_named_by_its_grid_values(write, make_cell):
    cells = [
        make_cell({"weights.halflife_kimg": n}, HEUN, 5.0, train_id="t", cell_id=f"c{n}", weights=f"ema {n}")
        for n in (1, 2)
    ]
    seen = overview(write(cells).read())
    assert seen.trained == ("digits_edm",)
    assert seen.trainings == ("EMA half-life (kimg) = 1", "EMA half-life (kimg) = 2")


def test_samplers_that_share_a_label_are_told_apart(churn_sweep):
    labels = [one.sampler_label for one in overview(churn_sweep.read()).configurations]
    assert "EDM 18 churn 10, S_noise = 1.007" in labels
    assert len(set(labels)) == 5


def test_the_best_configuration_is_never_one_that_diverged(write, make_cell):
    cells = [make_cell({"model.channels": c}, HEUN, d) for c, d in ((16, math.nan), (32, 4.0))]
    assert overview(write(cells).read()).best.training == "C = 32"


def test_results_without_a_distance_are_refused(write, make_cell):
    folder = write([make_cell({}, HEUN, 0.0, metrics={"precision": 0.5})])
    with pytest.raises(ReportError, match="no distance"):
        overview(folder.read())
