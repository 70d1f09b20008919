"""Leave-one-out distances: which features get them, what
they are, and that their intervals say what they claim."""

import math

import pytest
import torch
from torch import Tensor

from engine.metrics.frechet import FeatureStats, Gaussian, frechet_distance
from engine.metrics.jackknife import BLOCKS, jackknifed, leave_one_out
from reports.read.stats import STANDARD_ERRORS, paired_error

DIMS, COUNT = 4, 200


def normal(count: int, dims: int, seed: int) -> Tensor:
    return torch.randn(count, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(features: Tensor) -> Gaussian:
    return FeatureStats.of(features).gaussian


@pytest.mark.parametrize(
    ("count", "dims", "expected"),
    [
        (200, 64, True),
        (199, 64, False),  # below 20 a block
        (300, 256, True),
        (10_000, 257, False),  # too many dimensions
        (223, 199, True),  # 23 left out at most: 200 remain
        (222, 199, False),
        (2000, 64, True),
    ],
)
def test_values_are_taken_of_many_images_and_few_dimensions(count: int, dims: int, expected: bool) -> None:
    features = torch.zeros(count, dims)
    assert jackknifed(features) is expected
    if not expected:
        assert leave_one_out(Gaussian(torch.zeros(dims), torch.eye(dims)), features) == ()


@pytest.mark.parametrize("count", [200, 205])
def test_each_value_is_the_distance_of_the_features_outside_a_block(count: int) -> None:
    features, reference = normal(count, DIMS, seed=0), gaussian(normal(500, DIMS, seed=1))
    numbers = torch.arange(count).tensor_split(BLOCKS)
    for value, left_out in zip(leave_one_out(reference, features), numbers, strict=True):
        others = features[~torch.isin(torch.arange(count), left_out)]
        # Sums of 200 numbers, added in another order:
        # rounding of some 200 * 1e-16, amplified by a root at most.
        assert value == pytest.approx(frechet_distance(reference, gaussian(others)), abs=1e-6)


def cells_on(latents: Tensor, seed: int, share: float) -> tuple[Tensor, Tensor]:
    """Features of two samplers: a share of their variance
    comes from the latents, the rest is each one's own."""
    own = normal(2 * len(latents), DIMS, seed).view(2, *latents.shape)
    mixed = math.sqrt(share) * latents + math.sqrt(1 - share) * own
    return 1.1 * mixed[0] + 0.1, 1.15 * mixed[1] + 0.05


def repeated(share: float, repeats: int) -> tuple[Tensor, Tensor, Tensor]:
    """Over many draws of two cells: the difference of their
    distances, its paired and its unpaired standard error."""
    reference, nothing = gaussian(normal(5000, DIMS, seed=0)), {0: (0.0,) * BLOCKS}
    found = []
    for seed in range(1, repeats + 1):
        pair = cells_on(normal(COUNT, DIMS, seed), repeats + seed, share)
        one, other = (frechet_distance(reference, gaussian(features)) for features in pair)
        first, second = ({0: leave_one_out(reference, features)} for features in pair)
        alone = [paired_error(values, nothing) for values in (first, second)]
        found.append([one - other, paired_error(first, second), math.hypot(*alone)])
    return torch.tensor(found, dtype=torch.float64).unbind(1)


def test_the_paired_interval_covers_and_is_narrower_than_the_unpaired_one() -> None:
    gaps, paired, unpaired = repeated(share=0.95, repeats=200)
    # Ten blocks leave 9 degrees of freedom, for which the interval holds 95 % of draws. Over 200 draws that
    # share has a standard deviation of 1.5 %: within 4 of them.
    covered = ((gaps - gaps.mean()).abs() <= STANDARD_ERRORS * paired).double().mean()
    assert 0.89 < covered <= 1
    # The standard deviation of 200 draws is known within 5 %,
    # the errors' mean square within 1 / sqrt(9 * 100) = 3 %.
    assert paired.square().mean().sqrt() == pytest.approx(float(gaps.std()), rel=0.2)
    assert unpaired.mean() > 2 * paired.mean()
    assert ((gaps - gaps.mean()).abs() <= STANDARD_ERRORS * unpaired).double().mean() > 0.995


def test_pairing_gains_nothing_where_the_cells_have_nothing_in_common() -> None:
    _, paired, unpaired = repeated(share=0.0, repeats=50)
    # Mean squares of 50 draws with 9 and 18 degrees of freedom: their roots are known within 3.3 % and 2.4 %.
    assert paired.square().mean().sqrt() == pytest.approx(float(unpaired.square().mean().sqrt()), rel=0.15)
