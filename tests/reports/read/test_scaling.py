"""Scaling laws: known exponents are found, a floor hides them, and the interval holds what it promises."""

import math

import numpy as np
import pytest

from reports.figures import scaling_law as figure
from reports.figures.style import styled
from reports.read.grouping import overview
from reports.read.scaling import fit, trainings_by_size
from reports.tables import scaling_law

COMPUTE = np.geomspace(1e9, 1e13, 9)


def test_a_power_law_is_found_exactly_and_explains_everything():
    law = fit(COMPUTE, 50 * COMPUTE**-0.3)
    # Rounding of logarithms of size 30 over a spread of 9: a few times 1e-15.
    assert law.exponent == pytest.approx(-0.3, abs=1e-13)
    assert law.factor == pytest.approx(50, rel=1e-11)
    assert law.r_squared == pytest.approx(1, abs=1e-12)
    assert law.high - law.low < 1e-12
    assert law(COMPUTE) == pytest.approx(50 * COMPUTE**-0.3, rel=1e-11)


def test_a_floor_flattens_the_law_and_bends_it_away_from_the_line():
    floor, gap = 0.5, 50 * COMPUTE**-0.3
    raw = fit(COMPUTE, floor + gap)
    assert -0.15 < raw.exponent < 0  # the slope of ln(c + gap) is b gap / (c + gap), a fifth of b at F = 1e9
    assert raw.r_squared < 0.95
    assert not raw.low <= -0.3 <= raw.high
    assert fit(COMPUTE, (floor + gap) - floor).exponent == pytest.approx(-0.3, abs=1e-10)


def test_the_fit_is_least_squares_with_the_textbooks_interval():
    # ln F = 0, 1, 2, 3 and ln y = 0, 1, 1, 2: slope 3 / 5, squares left over 0.2, of 2;
    # t(0.975, 2) = 4.302652730.
    law = fit(np.exp([0.0, 1.0, 2.0, 3.0]), np.exp([0.0, 1.0, 1.0, 2.0]))
    half = 4.302652730 * math.sqrt(0.2 / 2 / 5)
    assert (law.exponent, law.r_squared) == pytest.approx((0.6, 0.9), abs=1e-14)
    assert (law.low, law.high) == pytest.approx((0.6 - half, 0.6 + half), abs=1e-8)


def test_the_interval_holds_the_exponent_95_times_in_100():
    trials, noise = 2000, 0.2 * np.random.default_rng(0).normal(size=(2000, 9))
    laws = [fit(COMPUTE, 50 * COMPUTE**-0.3 * np.exp(errors)) for errors in noise]
    held = sum(law.low <= -0.3 <= law.high for law in laws)
    # A count of 2,000 tries at 95 % has a standard deviation of sqrt(2000 * 0.95 * 0.05) = 9.7; four of them.
    assert held == pytest.approx(0.95 * trials, abs=4 * math.sqrt(trials * 0.95 * 0.05))


def test_two_sizes_or_a_value_without_a_logarithm_have_no_law():
    assert fit([1.0, 2.0, 2.0], [3.0, 2.0, 2.1]) is None
    for bad in (0.0, -0.1, math.nan, math.inf):
        assert fit([1.0, 2.0, 3.0], [3.0, 2.0, bad]) is None


def test_equal_losses_have_exponent_0_and_nothing_to_explain():
    law = fit([1.0, 2.0, 3.0], [2.0, 2.0, 2.0])
    assert law.exponent == 0
    assert math.isnan(law.r_squared)


def test_compute_is_macs_times_images_shown_to_the_reported_snapshot(size_sweep):
    (group,) = trainings_by_size(overview(size_sweep.read()))
    assert group.compute == tuple(1000 * width**2 * 96_000.0 for width in (8, 16, 32, 64))
    assert group.train_ids == ("t-8-s0", "t-16-s0", "t-32-s0", "t-64-s0")


def test_the_table_shows_that_only_the_excess_over_the_optimum_is_a_power_law(size_sweep):
    table = scaling_law.build(overview(size_sweep.read()))
    raw, above = [[shown.text for shown in row] for row in table.rows]
    assert (raw[0], above[0]) == ("as it is", "above its optimum")
    assert above[1:] == ["4", "−0.250", "1.000"]
    assert float(raw[2].replace("−", "-")) > -0.25
    assert float(raw[3]) < 1
    assert table.rows[1][2].interval == "[−0.250, −0.250]"


def test_every_training_seed_is_a_point(write, make_size_cells):
    table = scaling_law.build(overview(write(make_size_cells(seeds=(0, 1, 2))).read()))
    assert list(table.frame["points"]) == [12, 12]


def test_trainings_of_different_objectives_have_laws_of_their_own(write, make_size_cells):
    cells = [one for rate in (0.1, 0.2) for one in make_size_cells(floor=rate, **{"train.lr": rate})]
    table = scaling_law.build(overview(write(cells).read()))
    assert list(table.frame["trainings"].unique()) == ["learning rate = 0.1", "learning rate = 0.2"]
    assert list(table.frame["points"]) == [4] * 4


def test_a_loss_below_its_optimum_has_no_law_and_the_caption_says_why(write, make_size_cells):
    cells = make_size_cells()
    cells[-1]["metrics"]["optimal_loss_gap"] = -0.001
    seen = overview(write(cells).read())
    table = scaling_law.build(seen)
    assert [shown.text for shown in table.rows[1][2:]] == ["—", "—"]
    assert "No law where a loss above its optimum is not above 0." in table.caption
    with styled():
        assert len(figure.plot(seen).figure.axes[0].get_lines()) >= 3  # points of both, the line of one


def test_two_sizes_or_a_missing_loss_are_no_scaling_law(write, make_size_cells):
    assert scaling_law.build(overview(write(make_size_cells()[:2], "two").read())) is None
    cells = make_size_cells()
    for one in cells:
        del one["metrics"]["optimal_loss_gap"]
    assert scaling_law.build(overview(write(cells, "raw").read())) is None


def test_the_figure_holds_the_points_of_both_and_names_the_exponent(size_sweep):
    with styled():
        axes = figure.plot(overview(size_sweep.read())).figure.axes[0]
    points = [list(line.get_ydata()) for line in axes.get_lines() if line.get_marker() in ("s", "o")]
    (group,) = trainings_by_size(overview(size_sweep.read()))
    assert points == [list(group.losses["model_loss"]), list(group.losses["optimal_loss_gap"])]
    assert any(text.get_text().startswith("b = −0.250, R² = 1.000") for text in axes.texts)
