"""Averages found after training: their mathematics, and
how near they come to averages tracked during training."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from engine.config.train import Train
from engine.config.weights import PowerWeights
from engine.files import LocalFiles
from engine.objectives.edm import EdmObjective
from engine.training.ema import Ema, power_decay
from engine.training.levels import LevelDrawer
from engine.training.posthoc import Profile, inner_products, mix, mixing_weights, power_gamma
from engine.training.snapshot import TrainingState, load_snapshot, save_snapshot

pytestmark = pytest.mark.slow

TRACKED = (0.05, 0.10)
STEPS, SNAPSHOTS, BATCH = 2000, 20, 100
SETTINGS = Train(
    batch_size=BATCH,
    total_kimg=STEPS * BATCH / 1000,
    snapshot_kimg=STEPS * BATCH / SNAPSHOTS / 1000,
    ema_power=TRACKED,
)


def started(net: nn.Module, train: Train) -> TrainingState:
    return TrainingState.start(net, train, LevelDrawer(EdmObjective().design, train.batch_size))


def profile(sigma_rel: float, time: float, at: Tensor) -> Tensor:
    """(g + 1) tau^g / t^(g + 1) up to t, then 0."""
    gamma = power_gamma(sigma_rel)
    return torch.where(at <= time, (gamma + 1) * at**gamma / time ** (gamma + 1), 0.0)


def conflict(tracked: list[Profile], coefficients: Tensor, wanted: Profile) -> float:
    """L2 distance between the wanted profile and the mixture of tracked ones."""
    own = inner_products([wanted], [wanted])[0, 0]
    cross = coefficients @ inner_products(tracked, [wanted])[:, 0]
    mixed = coefficients @ inner_products(tracked, tracked) @ coefficients
    return float((own - 2 * cross + mixed).clamp(min=0).sqrt())


def trajectory(step: int) -> Tensor:
    """Eight synthetic weights after a step: a drift and oscillations, slow to fast."""
    time = torch.tensor((step + 1) / STEPS, dtype=torch.float64)
    return time.sqrt() + torch.sin(torch.arange(1.0, 9.0, dtype=torch.float64) ** 2 * time)


def test_gammas_are_the_published_ones() -> None:
    assert power_gamma(0.05) == pytest.approx(16.97, abs=5e-3)
    assert power_gamma(0.10) == pytest.approx(6.94, abs=5e-3)


@pytest.mark.parametrize("sigma_rel", [0.01, 0.05, 0.1, 0.2, 0.28])
def test_gamma_solves_the_width_equation(sigma_rel: float) -> None:
    gamma = power_gamma(sigma_rel)
    assert ((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3))) ** 0.5 == pytest.approx(sigma_rel, rel=1e-10)


def test_inner_products_equal_numerical_integrals() -> None:
    left = [Profile(0.05, 400), Profile(0.1, 1000), Profile(0.2, 700)]
    right = [Profile(0.1, 700), Profile(0.05, 1000)]
    edges = torch.linspace(0, 1000, 200_001, dtype=torch.float64)
    middles, width = (edges[1:] + edges[:-1]) / 2, float(edges[1])
    for i, one in enumerate(left):
        for j, other in enumerate(right):
            product = profile(one.sigma_rel, one.images_shown, middles) * profile(
                other.sigma_rel, other.images_shown, middles
            )
            # Profiles end at edges of the cells. Both exponents together are below 34, so the midpoint rule
            # errs by (34 / 400 * 0.005)^2 / 24 = 8e-9 of the integral at most.
            assert float(inner_products(left, right)[i, j]) == pytest.approx(
                float(product.sum()) * width, rel=1e-8
            )


def test_a_tracked_average_is_its_own_mixture() -> None:
    tracked = [Profile(width, images) for width in TRACKED for images in SETTINGS.snapshot_images]
    coefficients = mixing_weights(tracked, tracked[25])
    # The scaled equations have a condition number of 1,600 with 20 snapshots:
    # 1e-12 is 3 times 1,600 roundings.
    torch.testing.assert_close(coefficients, torch.eye(40, dtype=torch.float64)[25], rtol=0, atol=1e-12)


def test_coefficients_add_up_to_one_and_are_the_least_squares_fit() -> None:
    tracked = [Profile(width, images) for width in TRACKED for images in SETTINGS.snapshot_images]
    wanted = Profile(0.07, STEPS * BATCH)
    coefficients = mixing_weights(tracked, wanted)
    assert float(coefficients.sum()) == pytest.approx(1, abs=1e-12)
    best = conflict(tracked, coefficients, wanted)
    for moved in torch.eye(40, dtype=torch.float64)[::7]:
        assert conflict(tracked, coefficients + 1e-2 * (moved - moved.mean()), wanted) > best


def test_a_mixture_is_the_weighted_sum_name_by_name() -> None:
    first = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(3.0)}
    second = {"a": torch.tensor([5.0, 7.0]), "b": torch.tensor(9.0)}
    mixed = mix([first, second], torch.tensor([1.5, -0.5], dtype=torch.float64))
    assert mixed["a"].tolist() == [-1.0, -0.5]
    assert float(mixed["b"]) == 0


@pytest.fixture(scope="module")
def averages() -> dict[float, dict[int, Tensor]]:
    """Averages of the trajectory of several widths at every snapshot, by direct updates in float64."""
    kept: dict[float, dict[int, Tensor]] = {}
    for width in (*TRACKED, 0.03, 0.07, 0.15):
        average, kept[width] = torch.zeros(8, dtype=torch.float64), {}
        for step in range(STEPS):
            decay = power_decay(SETTINGS, step * BATCH, power_gamma(width))
            average = decay * average + (1 - decay) * trajectory(step)
            if (step + 1) % (STEPS // SNAPSHOTS) == 0:
                kept[width][(step + 1) * BATCH] = average
    return kept


@pytest.mark.parametrize(("width", "nearest"), [(0.03, 0.05), (0.07, 0.05), (0.15, 0.10)])
@pytest.mark.parametrize("number", [10, 20])
def test_an_untracked_width_is_reconstructed_within_the_misfit_of_its_profile(
    width: float, nearest: float, number: int, averages: dict[float, dict[int, Tensor]]
) -> None:
    """|integral of (p - q) theta| <= |p - q| |theta - c| by Cauchy and Schwarz, as p and q have the same integral.

    Nothing is added for the steps: an average is the exact
    integral of its profile times weights that stay for a step.
    """
    images = [count for count in SETTINGS.snapshot_images if count <= number * STEPS // SNAPSHOTS * BATCH]
    tracked, wanted = [Profile(w, count) for w in TRACKED for count in images], Profile(width, images[-1])
    coefficients = mixing_weights(tracked, wanted)
    parts = [{"w": averages[part.sigma_rel][part.images_shown]} for part in tracked]
    direct, found = averages[width][images[-1]], mix(parts, coefficients)["w"]
    shown = torch.stack([trajectory(step) for step in range(images[-1] // BATCH)])
    spread = (shown - shown.mean(0)).square().sum(0).mul(BATCH).sqrt()
    errors = (found - direct).abs()
    assert (errors <= conflict(tracked, coefficients, wanted) * spread).all()
    # Measured: a tenth for 0.03 with 10 snapshots, a hundredth or less for the others.
    assert float(errors.norm()) < 0.125 * float((averages[nearest][images[-1]] - direct).norm())


def test_loading_an_untracked_width_mixes_parameters_and_copies_buffers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    train, files = (
        Train(batch_size=10, total_kimg=2.0, snapshot_kimg=0.1, ema_power=TRACKED),
        LocalFiles(tmp_path),
    )
    state, direct = started(net, train), Ema(net)
    for step in range(train.num_steps):
        with torch.no_grad():
            for param in net.parameters():
                param.add_(torch.randn(param.shape) * 0.1)
            net[1].running_mean.fill_(step)
        state.ema.update(net, step * 10)
        direct.update(net, power_decay(train, step * 10, power_gamma(0.07)))
        if step + 1 in train.snapshot_steps:
            save_snapshot(files, state, (step + 1) * 10)
    found = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    load_snapshot(files, train, 2000, found, PowerWeights(sigma_rel=0.07))
    wanted, near = direct.net, state.ema.averages["power_0.05"].net

    def distance(one: nn.Module, other: nn.Module) -> float:
        pairs = zip(one.parameters(), other.parameters(), strict=True)
        return float(sum((a.detach() - b).square().sum() for a, b in pairs)) ** 0.5

    # Measured: 0.001 of the distance of the nearest tracked average.
    assert 0 < distance(found, wanted) < 0.01 * distance(near, wanted)
    assert torch.equal(found[1].running_mean, net[1].running_mean)
    assert found[1].num_batches_tracked.dtype == torch.int64


def test_a_missing_snapshot_of_the_fit_is_named(tmp_path: Path) -> None:
    train = Train(batch_size=10, total_kimg=0.4, snapshot_kimg=0.1, ema_power=TRACKED)
    net = nn.Linear(2, 2)
    save_snapshot(LocalFiles(tmp_path), started(net, train), 200)
    with pytest.raises(FileNotFoundError, match=r"images_0000000100\.power_0\.05"):
        load_snapshot(LocalFiles(tmp_path), train, 200, net, PowerWeights(sigma_rel=0.07))
