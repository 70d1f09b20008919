"""Overfitting: found where the loss falls and the snapshots get worse, and not made of noise."""

import numpy as np
import pytest

from reports.document.limits import limits
from reports.figures import training_curves
from reports.figures.style import styled
from reports.read.grouping import overview
from reports.read.overfitting import Overfitting, overfitting

SNAPSHOTS = np.arange(1, 21) * 10.0
LOGGED = np.arange(1, 101) * 2.0


def points(kimg, values):
    return list(zip(kimg, values, strict=True))


def noise(size, seed=0):
    return np.random.default_rng(seed).normal(size=size)


FALLING = points(LOGGED, 0.5 - LOGGED / 1000 + 0.01 * noise(100))
FLAT = points(LOGGED, 0.5 + 0.01 * noise(100))
TURNING = 4 + np.abs(SNAPSHOTS - 120) / 50
"""Falls to 4 at 120 kimg and rises to 5.6 at 200."""


def test_rising_metric_with_falling_loss_is_flagged_as_overfitting():
    loss, metric = points(LOGGED, 0.5 - LOGGED / 1000), points(SNAPSHOTS, TURNING)
    found = overfitting(loss, metric)
    assert (found.from_kimg, found.to_kimg) == (120, 200)
    assert found.loss_fall == pytest.approx(0.08, rel=1e-9)  # 0.001 a kimg over 80 kimg; float rounding
    # The last two, 5.4 and 5.6, less the best and its neighbours, 4.2, 4 and 4.2.
    assert found.metric_rise == pytest.approx(5.5 - 12.4 / 3, rel=1e-12)
    assert overfitting(loss[::-1], metric[::-1]) == found


def test_noise_on_both_curves_hides_neither_the_window_nor_the_amounts():
    found = overfitting(FALLING, points(SNAPSHOTS, TURNING + 0.05 * noise(20, seed=1)))
    # Noise of 0.05 moves the lowest by at most the two snapshots whose values lie within 0.4 of it.
    assert found.from_kimg in (110, 120, 130)
    assert found.to_kimg == 200
    # Standard errors 0.05 * sqrt(1/2 + 1/3) = 0.046, and 0.01 / sqrt(sum of squares of 41 points 2 kimg
    # apart, 22,960) a kimg, 0.0053 over 80 kimg; four of each. A best snapshot 10 kimg off moves the fall by
    # 0.01 and the rise by less than 0.14, the difference of the means around it.
    assert found.metric_rise == pytest.approx(1.367, abs=4 * 0.046 + 0.14)
    assert found.loss_fall == pytest.approx(0.08, abs=4 * 0.0053 + 0.01)


@pytest.mark.parametrize("count", [6, 10, 20, 50])
def test_a_metric_that_stays_level_is_rarely_flagged(count):
    kimg, trials = np.arange(1, count + 1) * 200 / count, 300
    metrics = 4 + 0.1 * np.random.default_rng(count).normal(size=(trials, count))
    flagged = sum(overfitting(FALLING, points(kimg, metric)) is not None for metric in metrics)
    # The quantile leaves 0.2 % to chance; choosing the lowest of the snapshots to hold the end against adds
    # to it, the more snapshots the more, to about 1 % at fifty. 3 % is 2 of a chance of 1 % and 3.5
    # deviations of a count.
    assert flagged <= 0.03 * trials


def test_snapshots_that_still_improve_are_not_flagged():
    falling = 4 + np.exp(-SNAPSHOTS / 60)
    assert overfitting(FALLING, points(SNAPSHOTS, falling)) is None
    flagged = [
        overfitting(FALLING, points(SNAPSHOTS, falling + 0.02 * noise(20, seed))) for seed in range(50)
    ]
    assert flagged == [None] * 50


def test_a_loss_that_no_longer_falls_is_instability_and_not_overfitting():
    assert overfitting(FLAT, points(SNAPSHOTS, TURNING)) is None
    assert overfitting(points(LOGGED, 0.5 + LOGGED / 1000), points(SNAPSHOTS, TURNING)) is None


def test_one_worse_snapshot_at_the_end_is_not_enough():
    last_but_one = points(SNAPSHOTS, 4 + np.abs(SNAPSHOTS - 190) / 50)
    assert overfitting(FALLING, last_but_one) is None


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_snapshots_say_nothing(count):
    assert overfitting(FALLING, points(SNAPSHOTS[:count], TURNING[:count])) is None


def test_a_window_without_logged_losses_is_not_flagged():
    assert overfitting(FALLING[:50], points(SNAPSHOTS, TURNING)) is None


def test_diverged_values_are_left_out():
    assert overfitting([*FALLING, (150.0, np.nan)], points(SNAPSHOTS, TURNING)) == overfitting(
        FALLING, points(SNAPSHOTS, TURNING)
    )


def overfit_curves(train_id):
    """Rows of curves.parquet of a training that overfits from 120 to 200 kimg."""
    loss = [(train_id, kimg, "train/loss", value) for kimg, value in FALLING]
    return loss + [(train_id, kimg, "selection/fd_classifier", v) for kimg, v in points(SNAPSHOTS, TURNING)]


def test_a_report_names_the_training_and_the_window_and_shades_it(scale_sweep, write_curves):
    write_curves(scale_sweep, overfit_curves("t-32-s0"))
    seen = overview(scale_sweep.read())
    (said,) = [text for text in limits(seen) if "overfits" in text]
    assert said.startswith("C = 32 (t-32-s0) overfits from 120 to 200 kimg: the loss still fell by 0.0")
    assert said.endswith("while the selection metric rose by 1.37.")
    with styled():
        drawing = training_curves.plot(seen)
    (span,) = drawing.figure.axes[1].patches
    assert (span.get_x(), span.get_x() + span.get_width()) == (120, 200)
    assert "Shaded: overfitting" in drawing.caption


def test_a_report_of_healthy_trainings_says_nothing_of_it(scale_sweep):
    seen = overview(scale_sweep.read())
    assert not any("overfit" in text for text in limits(seen))
    with styled():
        assert "Shaded" not in training_curves.plot(seen).caption


def test_many_trainings_that_overfit_are_counted(write, make_cell, write_curves):
    heun = {"kind": "heun", "num_steps": 9}
    folder = write([make_cell({"model.channels": width}, heun, 4.0) for width in range(6)])
    write_curves(folder, [row for width in range(6) for row in overfit_curves(f"t-{width}-s0")])
    said = [text for text in limits(overview(folder.read())) if "overfit" in text]
    assert len(said) == 5
    assert said[-1] == "2 more trainings overfit as well; figures/training_curves.png shades when."


def test_the_words_of_a_window():
    assert Overfitting(96, 320, 0.02, 1.5).words == (
        "overfits from 96 to 320 kimg: the loss still fell by 0.0200 while the selection metric rose by 1.50"
    )
