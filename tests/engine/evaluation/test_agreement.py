"""The metrics against the field's packages, on given features."""

import pytest
import torch
from torch import Tensor

from engine.metrics.frechet import FeatureStats, frechet_distance
from engine.metrics.precision_recall import Manifold, overlap

RELATIVE = 1e-6
DIMS = 48


def features(count: int, seed: int, shift: float = 0.0) -> Tensor:
    """Correlated float64 features with variances between some 0.01 and 100 and a mean of a few deviations."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(DIMS, DIMS, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    scales = torch.logspace(-1, 1, DIMS, dtype=torch.float64)
    return (
        torch.randn(count, DIMS, dtype=torch.float64, generator=generator) * scales @ mixing / 7 + 3 + shift
    )


PAIRS = {
    "near": (features(1000, 0), features(700, 1)),
    "far": (features(1000, 0), 1.5 * features(700, 1, shift=0.4)),
    "rank lacking": (features(1000, 0), features(40, 1)),
}
"""Real and generated features. Of the last the covariance has rank 39 of 48."""


@pytest.fixture(params=PAIRS)
def pair(request) -> tuple[Tensor, Tensor]:
    return PAIRS[request.param]


def moments(values: Tensor) -> dict[str, object]:
    """Mean and covariance in NumPy, by torch alone."""
    return {"mu": values.mean(dim=0).numpy(), "sigma": torch.cov(values.T).numpy()}


def our_distance(real: Tensor, fake: Tensor) -> float:
    return frechet_distance(FeatureStats.of(real).gaussian, FeatureStats.of(fake).gaussian)


# SciPy announces that sqrtm's `disp`, which pytorch-fid passes, goes away.
@pytest.mark.filterwarnings("ignore:The `disp` argument is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", ["near", "far"])
def test_the_distance_is_that_of_pytorch_fid(name):
    from pytorch_fid.fid_score import calculate_frechet_distance

    real, fake = (moments(values) for values in PAIRS[name])
    theirs = calculate_frechet_distance(real["mu"], real["sigma"], fake["mu"], fake["sigma"])
    assert our_distance(*PAIRS[name]) == pytest.approx(float(theirs), rel=RELATIVE)


def test_the_distance_is_that_of_torch_fidelity(pair):
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    theirs = fid_statistics_to_metric(*map(moments, pair), verbose=False)[KEY_METRIC_FID]
    assert our_distance(*pair) == pytest.approx(theirs, rel=RELATIVE)


@pytest.mark.parametrize("k", [3, 5])
def test_precision_and_recall_are_those_of_torch_fidelity(pair, k):
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    real, fake = pair
    settings = {"prc_neighborhood": k, "prc_batch_size": 300, "save_cpu_ram": True, "verbose": False}
    theirs = prc_features_to_metric(fake, real, **settings)  # the generated ones come first since version 0.4
    ours = overlap(Manifold.of(real, k), Manifold.of(fake, k))
    assert ours.precision == pytest.approx(theirs[KEY_METRIC_PRECISION], rel=RELATIVE)
    assert ours.recall == pytest.approx(theirs[KEY_METRIC_RECALL], rel=RELATIVE)
    assert ours.precision != ours.recall
