"""Intervals over training seeds: when there is one, and that it is the textbook's."""

import math

import pytest

from reports.read.stats import best, difference, estimate, paired_error, verdict


def seeds(*values):
    return {seed: [value] for seed, value in enumerate(values)}


def test_one_seed_has_neither_spread_nor_interval():
    one = estimate(seeds(3.0))
    assert (one.mean, one.std, one.low, one.high) == (3.0, None, None, None)
    assert one.label == "1 seed: no interval"


def test_several_samplings_of_one_training_are_sampling_noise_only():
    one = estimate({0: [3.0, 5.0]})
    assert one.mean == 4.0
    assert one.std is None
    assert one.sampling_std == pytest.approx(math.sqrt(2), rel=1e-15)  # ((-1)^2 + 1^2) / (2 - 1)
    assert one.lowest == 3.0
    assert one.low is None
    assert "sampling noise only" in one.label


def test_sampling_spread_is_pooled_within_trainings():
    one = estimate({0: [1.0, 3.0], 1: [11.0, 13.0], 2: [20.0]})
    assert one.sampling_std == pytest.approx(
        math.sqrt(2), rel=1e-15
    )  # (2 + 2) / 2, whatever the trainings' means
    assert one.lowest == pytest.approx((1 + 11 + 20) / 3, rel=1e-15)
    assert one.std == pytest.approx(estimate(seeds(2.0, 12.0, 20.0)).std, rel=1e-15)
    assert estimate(seeds(1.0, 2.0)).sampling_std is None
    assert estimate({0: [1.0, math.inf]}).sampling_std is None


def test_two_training_seeds_have_no_interval():
    one = estimate(seeds(3.0, 5.0))
    assert one.low is None
    assert one.label == "mean of 2 training seeds: too few for an interval"


def test_three_training_seeds_get_a_t_interval():
    one = estimate(seeds(1.0, 2.0, 3.0))
    # t(0.975, 2 degrees of freedom) = 4.302652730 in every table; the standard error is 1 / sqrt(3).
    half = 4.302652730 / math.sqrt(3)
    assert one.low == pytest.approx(2 - half, abs=1e-8)
    assert one.high == pytest.approx(2 + half, abs=1e-8)
    assert one.label == "mean [95% t-interval] over 3 training seeds"


def test_the_unit_is_the_training_seed_and_not_the_sample():
    many_samples = estimate({0: [1.0, 1.0, 1.0], 1: [2.0], 2: [3.0]})
    assert many_samples.mean == 2.0
    assert many_samples.low == estimate(seeds(1.0, 2.0, 3.0)).low


def test_ten_training_seeds_get_a_bootstrap_interval():
    one = estimate(seeds(*range(10)))
    # Resampled means are close to normal with variance 8.25 / 10: the ends lie near 4.5 -+ 1.96 * 0.908 =
    # 2.72, 6.28. 0.1 covers the steps of 0.1 in which means of ten whole numbers come, and 4 times the
    # resampling error of 0.024.
    assert one.low == pytest.approx(2.72, abs=0.1)
    assert one.high == pytest.approx(6.28, abs=0.1)
    assert one.label == "mean [95% bootstrap interval] over 10 training seeds"
    assert estimate(seeds(*range(10))) == one


def test_a_diverged_seed_is_not_averaged_away():
    one = estimate(seeds(1.0, math.nan, 3.0))
    assert math.isnan(one.mean)
    assert one.low is None


def test_best_ignores_what_diverged_and_keeps_the_first_of_a_tie():
    found = {
        key: estimate(seeds(value)) for key, value in {"a": math.nan, "b": 2.0, "c": 2.0, "d": 4.0}.items()
    }
    assert best(found, "lower") == "b"
    assert best(found, "higher") == "d"
    assert best({"a": found["a"]}, "lower") is None


def test_a_difference_is_paired_by_training_seed():
    # Seeds spread over 10 units but always differ by 1: pairing removes the spread.
    gap = difference(estimate(seeds(1.0, 6.0, 11.0)), estimate(seeds(2.0, 7.0, 12.0)))
    assert (gap.mean, gap.low, gap.high) == (-1.0, -1.0, -1.0)


def test_a_difference_without_shared_seeds_is_none():
    assert difference(estimate({0: [1.0]}), estimate({1: [1.0]})) is None


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        (seeds(2.0), seeds(4.0), "unreplicated"),
        (seeds(3.99), seeds(4.0), "too close"),  # 0.25 % apart
        (seeds(2.0, 2.1, 2.2), seeds(4.0, 4.1, 4.2), "clear"),
        (seeds(1.0, 4.0, 6.0), seeds(4.0, 4.0, 4.0), "overlap"),
    ],
)
def test_verdicts_follow_the_paired_interval_and_the_retraining_gap(one, other, found):
    assert verdict(estimate(one), estimate(other)) == found


def test_paired_error_is_the_jackknife_of_blockwise_differences():
    one, other = {(0, 0): (5.0, 6.0, 7.0)}, {(0, 0): (4.0, 4.0, 4.0)}
    # Differences 1, 2, 3: squares about their mean sum to 2, times (3 - 1) / 3.
    assert paired_error(one, other) == pytest.approx(math.sqrt(4 / 3), rel=1e-15)


def test_noise_common_to_both_cells_cancels_in_the_paired_error():
    shared = (5.0, 9.0, 1.0, 3.0)
    assert paired_error({(0, 0): shared}, {(0, 0): tuple(value + 2 for value in shared)}) == 0


def test_blocks_are_averaged_over_seeds_before_they_are_compared():
    zero = {(0, 0): (0.0, 0.0), (0, 1): (0.0, 0.0)}
    # Independent latents of two sampling seeds: means of blocks 2 and 3, half of (3 - 2)
    # ** 2 / 2 under the root.
    assert paired_error({(0, 0): (1.0, 3.0), (0, 1): (3.0, 3.0)}, zero) == pytest.approx(0.5, rel=1e-15)


@pytest.mark.parametrize("other", [{}, {(0, 1): (1.0, 2.0)}, {(0, 0): (1.0, 2.0, 3.0)}])
def test_cells_of_other_seeds_or_other_blocks_are_not_paired(other):
    assert paired_error({(0, 0): (1.0, 2.0)}, other) is None


def test_without_jackknife_values_there_is_no_paired_error():
    assert paired_error({}, {}) is None
