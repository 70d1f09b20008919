"""The Inception score and the kernel distance against torch-fidelity's programs and against closed forms."""

import math

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from engine.metrics.frechet import FeatureStats, frechet_distance
from engine.metrics.scores import (
    SUBSETS,
    inception_score,
    kernel_distance,
    squared_discrepancy,
    subset_indices,
)


def normal(count: int, dims: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return (
        torch.randn(count, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift
    )


# The Inception score.


def test_the_score_and_its_spread_are_torch_fidelitys() -> None:
    logits = normal(503, 40, seed=0) * 3
    theirs = isc_features_to_metric(logits)
    found = inception_score(logits)
    assert found.mean == pytest.approx(theirs["inception_score_mean"], rel=1e-12)
    assert found.std == pytest.approx(theirs["inception_score_std"], rel=1e-9)


def test_equal_predictions_score_one() -> None:
    assert inception_score(torch.zeros(100, 1008)).mean == pytest.approx(1, abs=1e-12)
    unsure = torch.randn(1, 20, generator=torch.Generator().manual_seed(0)).expand(100, -1)
    assert inception_score(unsure).mean == pytest.approx(1, abs=1e-12)


def test_certain_and_balanced_predictions_score_the_number_of_classes() -> None:
    """With one split there is nothing that the shuffle could unbalance. Probabilities are 0 and 1 exactly, so
    p log p must be 0 where p is 0."""
    classes = 12
    logits = torch.eye(classes).repeat(25, 1) * 2000
    assert inception_score(logits, splits=1).mean == pytest.approx(classes, rel=1e-12)


def test_a_class_that_no_image_has_changes_nothing() -> None:
    logits = torch.eye(12)[:5].repeat(20, 1) * 2000
    assert inception_score(logits, splits=1).mean == pytest.approx(5, rel=1e-12)


def test_images_in_the_order_of_their_classes_score_as_shuffled_ones() -> None:
    """Ten splits of 1,000 images in class order would have one class each, and score 1."""
    ordered = torch.eye(10).repeat_interleave(100, 0) * 2000
    assert inception_score(ordered).mean > 9


def test_fewer_images_than_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="10 splits needs as many images, not 9"):
        inception_score(torch.zeros(9, 3))


# The kernel distance.


def test_the_distance_and_its_spread_are_torch_fidelitys() -> None:
    fake, real = normal(1300, 16, seed=1, shift=0.1), normal(1100, 16, seed=2)
    theirs = kid_features_to_metric(fake, real, kid_subsets=7, kid_subset_size=1000)
    found = kernel_distance(fake, real, subset_indices(1300, 1100, subsets=7))
    assert found.mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    assert found.std == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-9)


def test_the_estimate_is_the_formula_of_the_paper_pair_by_pair() -> None:
    x, y = normal(4, 3, seed=3), normal(4, 3, seed=4)

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    pairs = [(i, j) for i in range(4) for j in range(4)]
    within = sum(kernel(side[i], side[j]) for side in (x, y) for i, j in pairs if i != j) / 12
    across = sum(kernel(x[i], y[j]) for i, j in pairs) / 16
    assert squared_discrepancy(x, y) == pytest.approx(within - 2 * across, rel=1e-12)


def test_of_one_distribution_it_is_zero_within_its_standard_error() -> None:
    """Each estimate is of sets of their own, so their mean's error is their spread over sqrt(N). A biased
    estimate, with the pairs of an image with itself, would be far above: its bias is several spreads."""
    size, repeats = 200, 60
    values = [
        squared_discrepancy(normal(size, 8, seed=2 * i), normal(size, 8, seed=2 * i + 1))
        for i in range(repeats)
    ]
    error = float(np.std(values, ddof=1)) / math.sqrt(repeats)
    assert abs(float(np.mean(values))) < 3 * error
    # E k(x, x) - E k(x, y) over n, for each of the two sets: what leaving out the diagonal removes.
    x, y = normal(20_000, 8, seed=500), normal(20_000, 8, seed=501)
    own, other = ((x * x).sum(1) / 8 + 1) ** 3, ((x * y).sum(1) / 8 + 1) ** 3
    assert 2 * float((own - other).mean()) / size > 10 * error


def test_a_shifted_mean_in_one_dimension_has_the_closed_form() -> None:
    """With d = 1, k(x, y) = (xy + 1)^3 compares moments: MMD^2 = 3 (dm1)^2 + 3 (dm2)^2 + (dm3)^2, and N(a, 1)
    has moments a, 1 + a^2, 3a + a^3."""
    a = 0.5
    expected = 3 * a**2 + 3 * a**4 + (3 * a + a**3) ** 2
    values = [
        squared_discrepancy(normal(1000, 1, seed=2 * i, shift=a), normal(1000, 1, seed=2 * i + 1))
        for i in range(40)
    ]
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    assert abs(float(np.mean(values)) - expected) < 3 * error
    assert error < 0.05 * expected


def test_the_published_protocol_is_a_hundred_pairs_of_a_thousand_images() -> None:
    ours, theirs = subset_indices(1000, 1797)
    assert ours.shape == theirs.shape == (SUBSETS, 1000) == (100, 1000)
    assert all(len(rows.unique()) == 1000 for rows in theirs)
    assert torch.equal(ours.sort(dim=1).values, torch.arange(1000).expand(100, -1))


def test_fewer_images_than_a_subset_are_refused() -> None:
    with pytest.raises(ValueError, match="subsets of 1000 need as many images, not 999 and 1797"):
        subset_indices(999, 1797)


# The Frechet distance of the same features.


def test_the_frechet_distance_is_torch_fidelitys() -> None:
    fake, real = normal(300, 24, seed=5, shift=0.2) * 1.3, normal(400, 24, seed=6)
    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(fake), fid_features_to_statistics(real), verbose=False
    )
    ours = frechet_distance(FeatureStats.of(real).gaussian, FeatureStats.of(fake).gaussian)
    assert ours == pytest.approx(theirs["frechet_inception_distance"], rel=1e-9)
