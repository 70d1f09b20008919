"""The optimal loss against quadrature and closed forms, and its estimators against what they promise."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from engine.metrics import posterior as posterior_module
from engine.metrics.optimal_loss import (
    EstimatorName,
    mean_and_stderr,
    optimal_loss,
    subset_posterior,
    subset_values,
)
from engine.metrics.posterior import Draws, draw, posterior

LINE = torch.tensor([[-1.0], [0.25], [1.5]], dtype=torch.float64)


def integrated(points: list[float], sigma: float) -> float:
    """J* of points on a line: the integral over x of the
    mixture's density times the variance of x0 given x."""
    centres = np.array(points)

    def term(x: float) -> float:
        kernels = np.exp(-((x - centres) ** 2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi) * len(centres))
        mean = kernels @ centres / kernels.sum()
        return float(kernels @ (centres - mean) ** 2)

    edges = [min(points) - 9 * sigma, max(points) + 9 * sigma]
    return float(quad(term, *edges, points=points, limit=500, epsabs=1e-12)[0])


def cloud(num_points: int, dims: int, seed: int = 0) -> Tensor:
    """Clusters of nearby points: some noise levels tell clusters apart, lower ones the points."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(10, dims, generator=generator, dtype=torch.float64)
    noise = torch.randn(num_points, dims, generator=generator, dtype=torch.float64)
    return centres[torch.arange(num_points) % 10] + 0.3 * noise


@pytest.mark.parametrize("sigma", [0.2, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("points", [LINE, LINE[:2]], ids=["three points", "two points"])
def test_full_is_the_integral_over_all_noisy_points(points: Tensor, sigma: float) -> None:
    (loss,) = optimal_loss(points, [sigma], num_draws=20_000, seed=1)
    assert 0 < loss.stderr < 0.01
    assert abs(loss.value - integrated(points[:, 0].tolist(), sigma)) < 4 * loss.stderr


def test_posterior_variance_is_the_residual_averaged_over_sources() -> None:
    points = cloud(300, 3)
    draws = draw(points, 0.5, 0, 0, torch.arange(4000))
    best = posterior(draws, points)
    difference = (draws.x0 - best.mean).square().sum(dim=1) - best.variance
    mean, stderr = mean_and_stderr(difference)
    assert abs(mean) < 4 * stderr
    kernels = torch.exp(-(torch.cdist(draws.x, points) ** 2) / (2 * 0.5**2))
    chances = kernels / kernels.sum(dim=1, keepdim=True)
    expected = (chances * torch.cdist(chances @ points, points) ** 2).sum(dim=1)
    assert torch.allclose(best.variance, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_many_gaussian_points_have_the_closed_form_of_gaussian_data(sigma: float) -> None:
    # N random points are importance samples of N(0, s^2), so at fresh x0 and x the squared residual |x0 -
    # D|^2 has the mean s^2 sigma^2 / (s^2 + sigma^2) plus E|D - D*|^2, which is at most (4 / N) E[w^2] /
    # E[w]^2 max|x0|^2, twice the bound on the bias.
    generator = torch.Generator().manual_seed(3)
    std, count, index = 0.8, 4000, torch.arange(1000)
    subset = std * torch.randn(count, 1, generator=generator, dtype=torch.float64)
    x0 = std * torch.randn(1000, 1, generator=generator, dtype=torch.float64)
    x = x0 + sigma * torch.randn(1000, 1, generator=generator, dtype=torch.float64)
    mean, chances = subset_posterior(Draws(index, index, x0, x, sigma), subset, 0.0)
    value, stderr = mean_and_stderr((x0 - mean).square()[:, 0])
    allowed = 4 * float(chances.square().sum(dim=1).mean() * subset.square().max())
    assert allowed < 0.05
    closed_form = std**2 * sigma**2 / (std**2 + sigma**2)
    assert -4 * stderr < value - closed_form < 4 * stderr + allowed


def test_error_of_snis_falls_as_one_over_the_subset_size() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(4000, 2, dtype=torch.float64, generator=generator)
    draws = draw(points, 1.0, 5, 0, torch.arange(256))
    best = posterior(draws, points).mean
    scaled = []
    for size in (100, 400):
        errors, bounds = [], []
        for _ in range(100):
            subset = points[torch.randperm(len(points), generator=generator)[:size]]
            mean, chances = subset_posterior(draws, subset, 0.0)
            errors.append((mean - best).square().sum(dim=1).mean())
            bounds.append(4 * chances.square().sum(dim=1).mean())
        assert torch.stack(errors).mean() < torch.stack(bounds).mean() * points.square().sum(dim=1).max()
        scaled.append(mean_and_stderr(size * torch.stack(errors)))
    # The same constant at both sizes, up to the next order, E[w^2] / (E[w]^2 L) = 3% at L = 100, and L / N =
    # 10% of points drawn without replacement at L = 400.
    (small, small_error), (large, large_error) = scaled
    assert abs(small - large) < 0.13 * small + 4 * (small_error**2 + large_error**2) ** 0.5
    assert small_error + large_error < 0.1 * small


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["full", "snis", "cdol"])
def test_standard_error_is_the_spread_over_seeds_and_falls_as_the_root_of_draws(
    estimator: EstimatorName,
) -> None:
    points = cloud(500, 3)

    def measure(num_draws: int, seed: int) -> tuple[float, float]:
        (loss,) = optimal_loss(
            points, [0.5], num_draws=num_draws, seed=seed, estimator=estimator, subset_size=50
        )
        return loss.value, loss.stderr

    values, errors = torch.tensor([measure(640, seed) for seed in range(40)], dtype=torch.float64).T
    # The standard deviation of 40 values is itself uncertain by 1 / sqrt(78) = 11%: three times that. An
    # error of 10 groups is too small by 2.5% on average.
    assert float(values.std() / errors.mean()) == pytest.approx(1, abs=0.36)
    # At 16 times the draws it is a quarter. Errors of 10 groups vary by 24%, their mean over 40 by 4%, and
    # the one of 160 groups by 6%: 3 sqrt(4^2 + 6^2) % = 22%.
    assert measure(16 * 640, 99)[1] == pytest.approx(float(errors.mean()) / 4, rel=0.22)


def test_cdol_is_dol_at_c_1_and_snis_of_the_other_points_at_large_c() -> None:
    points = cloud(400, 4)
    draws = draw(points, 0.4, 2, 0, torch.arange(130))

    def values(size: int, weight: float) -> Tensor:
        return subset_values(draws, points, None, size, lambda share: weight, (2, 0))[0]

    (dol,) = optimal_loss(points, [0.4], num_draws=130, seed=2, estimator="dol", subset_size=40)
    assert float(values(40, 1.0).mean()) / 4 == pytest.approx(dol.value, rel=1e-12)
    assert torch.allclose(values(40, 1e-300), values(39, 0.0), rtol=1e-12)
    assert not torch.allclose(values(40, 0.1), values(39, 0.0), rtol=1e-2)


def test_dol_is_too_low_snis_too_high_and_cdol_between_them() -> None:
    points = torch.randn(2000, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    full, snis, dol, cdol = (
        optimal_loss(points, [0.35], num_draws=1024, seed=4, estimator=estimator, subset_size=100)[0]
        for estimator in ("full", "snis", "dol", "cdol")
    )
    assert dol.value < full.value - 5 * (full.stderr + dol.stderr)
    assert snis.value > full.value + 5 * (full.stderr + snis.stderr)
    assert dol.value < cdol.value < snis.value
    assert abs(cdol.value - full.value) < abs(dol.value - full.value) / 2


@pytest.mark.parametrize("estimator", ["full", "snis", "dol", "cdol"])
def test_optimal_loss_is_zero_at_low_noise_and_the_data_variance_at_high(estimator: EstimatorName) -> None:
    points = cloud(200, 5)
    variance = float(points.var(dim=0, correction=0).mean())
    low, high = optimal_loss(
        points, [1e-3, 1e3], num_draws=2048, seed=0, estimator=estimator, subset_size=100
    )
    # No two points are within 0.05 = 50 sigma;
    # SNIS, whose subsets lack half of the sources, sees their neighbours.
    assert float(torch.nn.functional.pdist(points).min()) > 0.05
    assert estimator == "snis" or abs(low.value) < 1e-12
    # D* moves from the mean by less than (tr Cov)|x - mean| / sigma^2, and the mean of 100 of 200 points has
    # a variance of variance / 200.
    assert abs(high.value - variance) < 4 * high.stderr + variance / 200 + (5 * variance) ** 2 / 1e6
    assert (low.bias_bound is None) == (estimator != "snis")


@pytest.mark.parametrize("estimator", ["full", "cdol"])
def test_many_dimensions_are_stable_at_all_noise_levels(estimator: EstimatorName) -> None:
    points = torch.rand(128, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    low, high = optimal_loss(points, [1e-3, 1e3], num_draws=70, seed=0, estimator=estimator, subset_size=64)
    # Rounding: 2^-53 |x0|^2 a product, of terms that grow as 1
    # / sigma^2 only in the exponent; |x0|^2 / 3072 is 1 / 3.
    assert abs(low.value) < 1e-13
    variance = float(points.double().var(dim=0, correction=0).mean())
    # Among 128 random directions tr(Cov^2) is tr(Cov)^2 / 127: J* is below the variance by 3072 / 3 / 127 /
    # 1e6 of it. cDOL's mean of 63 points has a variance of 1 / 63 of theirs, less 63 / 128 for drawing
    # without replacement.
    allowed = 1e-5 if estimator == "full" else 1 / 63
    assert abs(high.value - variance) < 4 * high.stderr + allowed * variance


@pytest.mark.parametrize("estimator", ["full", "snis", "cdol"])
def test_blocks_change_nothing_but_rounding(
    estimator: EstimatorName, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, labels = cloud(300, 6), torch.arange(300) % 3

    def measure() -> list[float]:
        kwargs: dict[str, Any] = {"num_draws": 300, "seed": 0, "estimator": estimator, "subset_size": 70}
        return [
            loss.value
            for given in (None, labels)
            for loss in optimal_loss(points, [0.3, 1.0], labels=given, **kwargs)
        ]

    whole = measure()
    monkeypatch.setattr(posterior_module, "BLOCK", 6 * 37)
    monkeypatch.setattr(posterior_module, "SCORES", 300 * 11)
    monkeypatch.setattr(posterior_module, "DRAWS_AT_ONCE", 128)
    assert measure() == pytest.approx(whole, rel=1e-11)


def test_points_of_float32_give_what_they_give_in_float64() -> None:
    points = cloud(200, 6).float()
    single, double = (optimal_loss(data, [0.3], num_draws=100, seed=0) for data in (points, points.double()))
    assert single == double


def test_labels_keep_each_draw_to_its_own_class() -> None:
    points, labels = cloud(90, 3), torch.arange(90) % 3
    draws = draw(points, 0.7, 0, 0, torch.arange(50))
    conditional = posterior(draws, points, labels)
    for row in range(50):
        own = points[labels == labels[draws.source[row]]]
        alone = posterior(draws.rows(torch.tensor([row])), own)
        assert torch.allclose(conditional.mean[row], alone.mean[0], rtol=1e-12)
        assert torch.allclose(conditional.variance[row], alone.variance[0], rtol=1e-9)


@pytest.mark.parametrize("estimator", ["full", "snis", "dol", "cdol"])
def test_a_class_of_one_point_leaves_nothing_to_guess(estimator: EstimatorName) -> None:
    kwargs: dict[str, Any] = {"num_draws": 100, "seed": 0, "estimator": estimator, "subset_size": 5}
    (loss,) = optimal_loss(LINE, [2.0], labels=torch.arange(3), **kwargs)
    assert abs(loss.value) < 1e-14


@pytest.mark.parametrize("estimator", ["snis", "dol", "cdol"])
def test_a_subset_of_all_points_is_exact(estimator: EstimatorName) -> None:
    points = cloud(60, 3)
    draws = draw(points, 0.5, 0, 0, torch.arange(200))
    squares = draws.x0.square().sum(dim=1) - posterior(draws, points).mean.square().sum(dim=1)
    (loss,) = optimal_loss(points, [0.5], num_draws=200, seed=0, estimator=estimator, subset_size=60)
    assert loss.value == pytest.approx(float(squares.mean()) / 3, rel=1e-11)


def test_a_draw_depends_on_seed_level_and_number_alone() -> None:
    points = cloud(50, 4)
    whole, part = draw(points, 0.5, 7, 2, torch.arange(20)), draw(points, 0.5, 7, 2, torch.arange(12, 17))
    assert torch.equal(whole.x[12:17], part.x)
    assert torch.equal(whole.source[12:17], part.source)
    others = draw(points, 0.5, 8, 2, torch.arange(20)), draw(points, 0.5, 7, 3, torch.arange(20))
    assert not any(torch.equal(other.x, whole.x) for other in others)
    assert torch.equal(whole.x0, points[whole.source])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: optimal_loss(LINE, [0.0], num_draws=10, seed=0), "sigma > 0"),
        (lambda: optimal_loss(LINE.byte(), [1.0], num_draws=10, seed=0), "points in torch.uint8"),
        (lambda: optimal_loss(LINE, [1.0], num_draws=1, seed=0), "more than 1 draws"),
        (lambda: optimal_loss(LINE, [1.0], num_draws=64, seed=0, estimator="dol"), "more than 64 draws"),
    ],
)
def test_what_has_no_answer_is_refused(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
