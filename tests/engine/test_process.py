"""Schedules, noise levels, preconditioning and losses against closed forms and published constants."""

import math
from itertools import pairwise

import pytest
import torch

from engine.denoiser import Denoiser
from engine.objectives import ddpm, edm
from engine.oracle import EmpiricalOracle, GaussianOracle
from engine.process.noise_levels import log_normal, uniform_timestep
from engine.process.precond import EdmPreconditioning, NoisePrediction
from engine.process.schedules import SCHEDULES, alpha_bars, cosine_betas, vp_sigmas
from engine.process.weighting import edm_weight
from engine.spec import EdmObjective, SimpleObjective


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_alpha_bar_falls_from_about_one_to_about_zero(schedule: str) -> None:
    table = alpha_bars(schedule, 1000)
    assert all(before > after > 0 for before, after in pairwise(table))
    assert table[0] > 0.999
    assert table[-1] < 1e-4


def test_terminal_values_match_the_published_schedules() -> None:
    assert alpha_bars("linear", 1000)[-1] == pytest.approx(4.036e-5, rel=1e-3)
    assert vp_sigmas("linear", 1000)[0] == pytest.approx(0.0100, rel=1e-3)
    assert vp_sigmas("linear", 1000)[-1] == pytest.approx(157.4, rel=1e-3)
    assert alpha_bars("cosine", 1000)[-1] == pytest.approx(2.4e-9, rel=2e-2)


def test_cosine_clips_exactly_its_last_beta() -> None:
    betas = cosine_betas(1000)
    assert betas[-1] == 0.999
    assert max(betas[:-1]) < 0.999


def test_linear_betas_scale_with_the_number_of_timesteps() -> None:
    betas = SCHEDULES["linear"](4000)
    assert (betas[0], betas[-1]) == (pytest.approx(2.5e-5), pytest.approx(5e-3))


def test_log_normal_noise_levels_have_the_stated_quantiles() -> None:
    quantiles = torch.tensor([0.5, 0.8413447460685429, 0.15865525393145707], dtype=torch.float64)
    expected = [math.exp(-1.2), math.exp(0.0), math.exp(-2.4)]
    assert log_normal(quantiles, -1.2, 1.2).tolist() == pytest.approx(expected, rel=1e-9)


def test_uniform_timesteps_reach_both_ends_of_the_schedule() -> None:
    ends = uniform_timestep(torch.tensor([1e-12, 1 - 1e-12], dtype=torch.float64), "linear", 1000)
    assert ends.tolist() == [vp_sigmas("linear", 1000)[0], vp_sigmas("linear", 1000)[-1]]


def test_edm_preconditioning_gives_unit_variance_in_and_out() -> None:
    sigma = torch.logspace(-3, 2, 30, dtype=torch.float64)
    c = EdmPreconditioning(0.5)(sigma)
    input_variance = c.c_in**2 * (0.5**2 + sigma**2)
    # The network's target is (x0 - c_skip x) / c_out with x = x0 + sigma eps.
    target_variance = ((1 - c.c_skip) ** 2 * 0.5**2 + c.c_skip**2 * sigma**2) / c.c_out**2
    assert torch.allclose(input_variance, torch.ones_like(sigma), rtol=1e-12)
    # (1 - c_skip) loses digits to cancellation at small sigma: 1e-16 / sigma^2 relative, 1e-10 at sigma = 1e-3.
    assert torch.allclose(target_variance, torch.ones_like(sigma), rtol=1e-9)
    assert torch.allclose(c.c_noise, sigma.log() / 4)


def test_edm_weight_is_one_over_c_out_squared() -> None:
    sigma = torch.logspace(-3, 2, 30, dtype=torch.float64)
    assert torch.allclose(edm_weight(sigma, 0.5), 1 / EdmPreconditioning(0.5)(sigma).c_out ** 2, rtol=1e-12)


def test_noise_prediction_recovers_x0_from_the_true_noise_at_every_timestep() -> None:
    precond = NoisePrediction("linear", 1000)
    sigma = torch.tensor(vp_sigmas("linear", 1000), dtype=torch.float64)
    c = precond(sigma)
    assert torch.equal(c.c_noise, torch.arange(1000).double())
    x0, eps = torch.tensor(0.3, dtype=torch.float64), torch.tensor(-1.1, dtype=torch.float64)
    # Rounding of x = x0 + sigma eps is relative to sigma (157).
    assert torch.allclose(c.c_skip * (x0 + sigma * eps) + c.c_out * eps, x0.expand(1000), atol=1e-12)


def test_noise_levels_beyond_the_schedule_get_its_ends() -> None:
    c = NoisePrediction("linear", 1000)(torch.tensor([1e-5, 1e5], dtype=torch.float64))
    assert c.c_noise.tolist() == [0.0, 999.0]


class PerfectNet(torch.nn.Module):
    """The raw network output that makes an EDM denoiser exact for N(0, std^2) data."""

    def __init__(self, std: float, precond: EdmPreconditioning) -> None:
        super().__init__()
        self.std, self.precond = std, precond

    def forward(self, x_in: torch.Tensor, c_noise: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        sigma = (4 * c_noise.double()).exp()
        c = self.precond(sigma)
        columns = [value[:, None, None, None] for value in (c.c_skip, c.c_out, c.c_in, sigma)]
        c_skip, c_out, c_in, level = columns
        x = x_in.double() / c_in
        return (GaussianOracle(self.std).std ** 2 / (self.std**2 + level**2) * x - c_skip * x) / c_out


def test_edm_loss_of_the_exact_denoiser_is_one_per_pixel_when_sigma_data_fits() -> None:
    objective, count, shape = EdmObjective(sigma_data=0.5), 20_000, (1, 2, 2)
    generator = torch.Generator().manual_seed(0)
    x0 = 0.5 * torch.randn(count, *shape, generator=generator, dtype=torch.float64)
    eps = torch.randn(count, *shape, generator=generator, dtype=torch.float64)
    uniform = torch.rand(count, generator=generator, dtype=torch.float64).clamp(1e-9)
    precond = EdmPreconditioning(0.5)
    denoiser = Denoiser(PerfectNet(0.5, precond), precond)
    losses = edm.losses(objective, denoiser, x0, None, uniform, eps)
    # Each pixel's optimal weighted loss is chi-square with one degree: mean 1, so the sum over 4 pixels has mean 4
    # and variance 8. Five standard errors.
    assert abs(float(losses.mean()) - 4) < 5 * math.sqrt(8 / count)


def test_simple_loss_is_the_squared_error_of_the_noise() -> None:
    objective = SimpleObjective()
    x0, eps = torch.rand(5, 1, 3, 3, dtype=torch.float64), torch.randn(5, 1, 3, 3, dtype=torch.float64)
    guess = 0.25

    def denoise(x: torch.Tensor, sigma: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        return x - sigma[:, None, None, None] * (eps + guess)

    losses = ddpm.losses(objective, denoise, x0, None, torch.linspace(0.01, 0.99, 5, dtype=torch.float64), eps)
    # x - (x0 + sigma eps) cancels numbers of size sigma <= 157: relative rounding 157 * 2e-16 / guess.
    assert losses.tolist() == pytest.approx([guess**2] * 5, rel=1e-9)


def test_denoiser_keeps_the_dtype_counts_evaluations_and_takes_one_or_many_noise_levels() -> None:
    class Zero(torch.nn.Module):
        def forward(self, x: torch.Tensor, c_noise: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
            assert x.dtype == torch.float32
            return torch.zeros_like(x)

    denoiser, x = Denoiser(Zero(), EdmPreconditioning(0.5)), torch.ones(3, 1, 2, 2, dtype=torch.float64)
    one, many = denoiser(x, 2.0), denoiser(x, torch.full((3,), 2.0, dtype=torch.float64))
    assert one.dtype == torch.float64
    assert torch.equal(one, many)
    assert denoiser.nfe == 2
    assert torch.allclose(one, torch.full_like(x, 0.25 / 4.25))


def test_empirical_oracle_is_the_posterior_mean_of_two_points() -> None:
    oracle = EmpiricalOracle(torch.tensor([[-1.0], [1.0]], dtype=torch.float64))
    x = torch.tensor([[0.3], [-2.0]], dtype=torch.float64)
    # Two symmetric points: E[x0 | x] = tanh(x / sigma^2).
    assert torch.allclose(oracle.denoise(x, 0.8), torch.tanh(x / 0.8**2), rtol=1e-12)
