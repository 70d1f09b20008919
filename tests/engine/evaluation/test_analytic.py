"""Analytic-DPM's variance: measured on Gaussian data it is the exact one."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.backbones.ddpmpp.config import DdpmPlusPlus
from engine.build import build_denoiser, build_network
from engine.config.experiment import Data, EvaluationProtocol, Experiment
from engine.config.train import Train
from engine.data.datasets import ImageSet
from engine.evaluation.oracle import GaussianOracle
from engine.evaluation.snapshot_cache import Snapshot, analytic_variance
from engine.files import LocalFiles
from engine.guidance import NULL_LABEL
from engine.noise import Purpose, normal
from engine.objectives.simple import SimpleObjective
from engine.process.analytic import AnalyticVariance, analytic_gammas
from engine.process.schedules import vp_sigmas
from engine.samplers.ddpm import Ddpm

STD = 0.5
SIGMAS = [vp_sigmas("linear", 1000)[t] for t in (0, 100, 300, 600, 999)]


def denoise(x: Tensor, sigma: float, label: Tensor | None) -> Tensor:
    return GaussianOracle(STD).denoise(x, sigma)


def images(count: int = 400) -> Tensor:
    return STD * normal(7, Purpose.LATENT, torch.arange(count), (1, 8, 8))


def test_measured_variance_of_gaussian_data_is_the_exact_posterior_variance() -> None:
    gammas = analytic_gammas(denoise, images(), SIGMAS, seed=0, batch_size=100)
    measured = AnalyticVariance(tuple(SIGMAS), tuple(gammas))(
        torch.tensor(SIGMAS, dtype=torch.float64)
    ).flatten()
    for value, sigma in zip(measured.tolist(), SIGMAS, strict=True):
        exact = STD**2 * sigma**2 / (STD**2 + sigma**2)
        # sigma^2 (1 - Gamma) is the mean of 2 sigma eps d - d^2 with d = x0_hat - x0, and d's variance is
        # `exact`. The product's standard deviation is at most sqrt(4 sigma^2 3 exact) each, that of d^2
        # sqrt(2) exact; times five.
        error = (2 * sigma * math.sqrt(3 * exact) + math.sqrt(2) * exact) / math.sqrt(images().numel())
        assert abs(value - exact) < 5 * error


def test_gamma_is_the_mean_square_of_the_predicted_noise() -> None:
    sigma, x0 = SIGMAS[2], images()
    (gamma,) = analytic_gammas(denoise, x0, [sigma], seed=0, batch_size=400)
    exact = sigma**2 / (STD**2 + sigma**2)  # eps_hat = sigma x / (STD^2 + sigma^2), Var x = STD^2 + sigma^2
    noisy = x0 + sigma * normal(1, Purpose.TRAINING_NOISE, torch.arange(400), (1, 8, 8))
    plain = float(((noisy - denoise(noisy, sigma, None)) / sigma).square().mean())
    # Five standard errors of a mean square; the one that knows eps is no further off.
    tolerance = 5 * exact * math.sqrt(2 / x0.numel())
    assert abs(plain - exact) < tolerance
    assert abs(gamma - exact) < tolerance


def test_knowing_the_noise_saves_most_of_the_images_at_high_noise_levels() -> None:
    sigma, exact = SIGMAS[-1], STD**2 * SIGMAS[-1] ** 2 / (STD**2 + SIGMAS[-1] ** 2)
    errors: dict[str, list[float]] = {"ours": [], "plain": []}
    for seed in range(8):
        (gamma,) = analytic_gammas(denoise, images(), [sigma], seed=seed, batch_size=400)
        noisy = images() + sigma * normal(seed, Purpose.LATENT, torch.arange(400), (1, 8, 8))
        plain = float(((noisy - denoise(noisy, sigma, None)) / sigma).square().mean())
        errors["ours"].append((sigma**2 * (1 - gamma) - exact) ** 2)
        errors["plain"].append((sigma**2 * (1 - plain) - exact) ** 2)
    # Standard errors of sqrt(2) sigma^2 and 2 sigma STD a pixel: the squares differ by sigma^2 / (2 STD^2) =
    # 5e4. A thousand allows for the luck of eight draws.
    assert sum(errors["plain"]) > 1000 * sum(errors["ours"])


def test_batches_do_not_change_the_result_and_the_seed_does() -> None:
    whole = analytic_gammas(denoise, images(40), SIGMAS, seed=3, batch_size=40)
    split = analytic_gammas(denoise, images(40), SIGMAS, seed=3, batch_size=7)
    assert split == pytest.approx(whole, rel=1e-13)  # the order of a sum
    assert analytic_gammas(denoise, images(40), SIGMAS, seed=4, batch_size=40) != whole


def test_labels_reach_the_denoiser_with_their_images() -> None:
    labels, seen = torch.arange(10), []

    def listening(x: Tensor, sigma: float, label: Tensor | None) -> Tensor:
        seen.append(label)
        return torch.zeros_like(x)

    analytic_gammas(listening, images(10), [1.0], seed=0, batch_size=4, labels=labels)
    assert torch.equal(torch.cat(seen), labels)


@pytest.mark.parametrize(("guidance", "hidden"), [(0.0, True), (1.0, False), (3.0, False)])
def test_the_variance_is_measured_with_the_labels_the_sampler_shows(
    guidance: float, hidden: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Tensor] = []

    def listening(*args: Any, labels: Tensor, **settings: Any) -> list[float]:
        told.append(labels)
        return [0.5, 0.5]

    monkeypatch.setattr("engine.evaluation.snapshot_cache.analytic_gammas", listening)
    experiment = Experiment(
        data=Data(name="digits"),
        model=DdpmPlusPlus(
            channels=4, channel_mult=(1,), num_blocks=1, class_conditional=True, label_dropout=0.1
        ),
        objective=SimpleObjective(),
        train=Train(batch_size=16, total_kimg=0.192, snapshot_kimg=0.064),
        sample=Ddpm(num_steps=2, covariance="analytic", guidance=guidance),
        eval=EvaluationProtocol(),
    )
    shown = ImageSet.of(torch.zeros(10, 1, 8, 8, dtype=torch.uint8), torch.arange(10))
    denoiser = build_denoiser(experiment, build_network(experiment))
    for _ in range(2):  # the second finds the first one's file
        analytic_variance(Snapshot(experiment, denoiser, LocalFiles(tmp_path), 64), shown)
    [labels] = told
    assert torch.equal(labels, torch.full((10,), NULL_LABEL) if hidden else torch.arange(10))


def test_a_level_in_between_gets_its_nearest_neighbours_variance() -> None:
    variance = AnalyticVariance((0.1, 1.0, 10.0), (0.5, 0.9, 1.5))
    asked = torch.tensor([0.01, 0.1, 0.3, 0.4, 1.0, 500.0], dtype=torch.float64)
    assert variance(asked).shape == (6, 1, 1, 1)
    # Neighbours meet at sqrt(0.1 1.0) = 0.316; Gamma above 1 would make a negative variance.
    expected = [0.005, 0.005, 0.005, 0.1, 0.1, 0.0]
    assert variance(asked).flatten().tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("sigmas", "gammas"), [((1.0, 0.5), (0.5, 0.5)), ((0.5, 1.0), (0.5,)), ((1.0, 1.0), (0.5, 0.5))]
)
def test_levels_out_of_order_or_without_gamma_are_errors(
    sigmas: tuple[float, ...], gammas: tuple[float, ...]
) -> None:
    with pytest.raises(ValueError, match="rising noise levels and one Gamma"):
        AnalyticVariance(sigmas, gammas)
