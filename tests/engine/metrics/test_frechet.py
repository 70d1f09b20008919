"""Feature statistics and the Frechet distance against closed forms."""

import math

import pytest
import torch
from torch import Tensor

from engine.files import pack, unpack
from engine.metrics.frechet import BLOCK, FeatureStats, Gaussian, frechet_distance
from engine.metrics.names import lacks_rank

EPS = torch.finfo(torch.float64).eps


def features_with_moments(mean: Tensor, root: Tensor) -> Tensor:
    """2d vectors with this mean and the covariance root @ root.T:
    mean +- sqrt((N - 1) / 2) * columns of the root."""
    dims = len(mean)
    spread = math.sqrt((2 * dims - 1) / 2) * root.T
    return torch.cat([mean + spread, mean - spread])


def random_features(count: int, dims: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dims, generator=generator) @ torch.randn(dims, dims, generator=generator) + 1


def gaussian(features: Tensor) -> Gaussian:
    return FeatureStats.of(features).gaussian


def rotation(dims: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(dims, dims, dtype=torch.float64, generator=generator)).Q


def test_mean_and_covariance_equal_torch():
    features = random_features(50, 5)
    stats = FeatureStats.of(features)
    torch.testing.assert_close(stats.mean, features.double().mean(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(stats.covariance, torch.cov(features.double().T), rtol=1e-12, atol=1e-12)


def test_frechet_distance_of_gaussians_that_commute_equals_the_closed_form():
    # With a common eigenbasis the distance is |m1 - m2|^2
    # + sum_i (s1_i - s2_i)^2, s being standard deviations.
    basis = rotation(4)
    s1, s2 = torch.tensor([1.0, 2.0, 3.0, 0.5]).double(), torch.tensor([2.0, 2.0, 0.1, 4.0]).double()
    m1, m2 = torch.tensor([0.0, 1.0, -2.0, 3.0]).double(), torch.tensor([1.0, 1.0, 1.0, 1.0]).double()
    a = gaussian(features_with_moments(m1, basis * s1))
    b = gaussian(features_with_moments(m2, basis * s2))
    expected = float((m1 - m2).square().sum() + (s1 - s2).square().sum())
    assert frechet_distance(a, b) == pytest.approx(
        expected, rel=1e-12
    )  # 37.66; rounding is some 1e-15 a step


def test_frechet_distance_of_gaussians_that_do_not_commute_equals_the_closed_form():
    # For 2x2 matrices tr sqrt(M) = sqrt(tr M + 2 sqrt(det M)), with M = S1 S2.
    r1, r2 = torch.tensor([[2.0, 0.0], [1.0, 1.0]]).double(), torch.tensor([[1.0, -1.0], [0.0, 3.0]]).double()
    s1, s2 = r1 @ r1.T, r2 @ r2.T
    zero = torch.zeros(2, dtype=torch.float64)
    distance = frechet_distance(
        gaussian(features_with_moments(zero, r1)), gaussian(features_with_moments(zero, r2))
    )
    product = s1 @ s2
    cross = math.sqrt(product.trace() + 2 * math.sqrt(torch.linalg.det(product)))
    assert not torch.equal(product, product.T)
    assert distance == pytest.approx(float(s1.trace() + s2.trace()) - 2 * cross, rel=1e-12)


def test_the_distance_is_symmetric():
    a, b = gaussian(random_features(40, 6, seed=2)), gaussian(random_features(40, 6, seed=3))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-11)


@pytest.mark.parametrize("count", [200, 5])
def test_the_distance_to_itself_is_zero_within_rounding(count):
    # Eigenvalues of S1^1/2 S2 S1^1/2 are exact up to about d * eps * L^2 (L:
    # largest of S); under the root, d of them make an error of at most 2 * d *
    # sqrt(d * eps) * L. Five vectors in eight dimensions leave zero eigenvalues.
    one = gaussian(random_features(count, 8))
    largest = float(torch.linalg.eigvalsh(one.covariance)[-1])
    assert 0 <= frechet_distance(one, one) <= 2 * 8 * math.sqrt(8 * EPS) * largest


@pytest.mark.parametrize("sizes", [[100], [1, 99], [30, 70], [33, 33, 34], [10] * 10])
def test_statistics_merged_over_any_split_equal_the_whole(sizes):
    # Products of float32 numbers are exact in float64;
    # sums of 100 of them in any order differ by below 100 eps.
    features = random_features(100, 7)
    whole, merged = FeatureStats.of(features), FeatureStats.empty(7)
    for part in features.split(sizes):
        merged.merge(FeatureStats.of(part))
    assert merged.count == 100
    scale = float(features.double().square().sum())
    torch.testing.assert_close(merged.sum, whole.sum, rtol=0, atol=100 * EPS * scale)
    torch.testing.assert_close(merged.outer, whole.outer, rtol=0, atol=100 * EPS * scale)


def test_blocks_of_the_documented_size_merged_in_order_give_the_bits_of_the_whole():
    features = random_features(2 * BLOCK + 7, 3)
    whole, merged = FeatureStats.of(features), FeatureStats.empty(3)
    for block in features.split(BLOCK):
        merged.merge(FeatureStats.of(block))
    assert merged.count == whole.count
    assert torch.equal(merged.sum, whole.sum)
    assert torch.equal(merged.outer, whole.outer)


def test_a_factor_is_computed_once_and_its_square_is_the_covariance():
    one = gaussian(random_features(50, 6))
    assert one.factor is one.factor
    # The eigenvalues' rounding is some eps of the largest of them.
    largest = float(one.covariance.abs().max())
    torch.testing.assert_close(one.factor @ one.factor.T, one.covariance, rtol=0, atol=100 * EPS * largest)


def test_blocks_merged_in_order_give_the_bits_of_blocks_added_in_order():
    blocks = random_features(90, 7).split(30)
    added, merged = FeatureStats.empty(7), FeatureStats.empty(7)
    for block in blocks:
        added.add(block)
        merged.merge(FeatureStats.of(block))
    assert torch.equal(added.sum, merged.sum)
    assert torch.equal(added.outer, merged.outer)


def test_statistics_survive_storing_bit_for_bit():
    stats = FeatureStats.of(random_features(10, 3))
    again = FeatureStats.from_arrays(unpack(pack(stats.to_arrays(), {}))[0])
    assert again.count == stats.count
    assert torch.equal(again.sum, stats.sum)
    assert torch.equal(again.outer, stats.outer)


@pytest.mark.parametrize(("count", "deficient"), [(4, True), (5, True), (6, False)])
def test_a_covariance_lacks_rank_until_there_are_more_vectors_than_dimensions(count, deficient):
    stats = FeatureStats.of(random_features(count, 5))
    assert lacks_rank(count, dims=5) is deficient
    assert (int(torch.linalg.matrix_rank(stats.covariance, hermitian=True)) < 5) is deficient


def test_one_vector_has_no_covariance():
    with pytest.raises(ValueError, match="at least 2 feature vectors, not 1"):
        FeatureStats.of(torch.ones(1, 3)).covariance  # noqa: B018
