"""Likelihoods against independent ones: scipy's normal distribution and torch.distributions."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from engine.objectives.losses.likelihood import discretised_nll, gaussian_kl

LEVELS = torch.arange(256, dtype=torch.float64) / 127.5 - 1


def grid(mean: float, log_variance: float, dtype: torch.dtype) -> Tensor:
    """-ln P of the 256 levels."""
    x0 = LEVELS.to(dtype)
    return discretised_nll(x0, torch.full_like(x0, mean), torch.full_like(x0, log_variance))


@pytest.mark.parametrize("mean", [-1.3, -1.0, -0.02, 0.7, 1.0])
@pytest.mark.parametrize("log_variance", [-14.0, -9.2, -4.0, 0.0, 3.0])
def test_probabilities_of_the_256_levels_sum_to_one(mean: float, log_variance: float) -> None:
    # Borders of neighbouring bins agree to an ulp or two of x, times a density of at most 0.4 exp(7) = 440.
    total = (-grid(mean, log_variance, torch.float64)).exp().sum()
    assert float(total) == pytest.approx(1, abs=256 * 440 * 2.3e-16)


@pytest.mark.parametrize("mean", [-1.0, 0.031, 0.9])
@pytest.mark.parametrize("log_variance", [-9.2, -5.0, -1.0])
def test_every_level_costs_what_scipy_says(mean: float, log_variance: float) -> None:
    x0, std = LEVELS.numpy(), math.exp(log_variance / 2)
    below, above = (x0 - 1 / 255 - mean) / std, (x0 + 1 / 255 - mean) / std
    below[0], above[-1] = -np.inf, np.inf
    # Mirrored into the lower tail, where scipy's differences keep their digits.
    mirrored = below > 0
    low, high = np.where(mirrored, -above, below), np.where(mirrored, -below, above)
    expected = -(norm.logcdf(high) + np.log1p(-np.exp(norm.logcdf(low) - norm.logcdf(high))))
    np.testing.assert_allclose(grid(mean, log_variance, torch.float64).numpy(), expected, rtol=1e-9)


def test_a_narrow_bin_far_in_the_tail_keeps_its_cost_and_its_gradient_in_single_precision() -> None:
    # 80 standard deviations away: the probability itself is e^-3200.
    mean = torch.tensor([0.2], requires_grad=True)
    nll = discretised_nll(torch.tensor([-0.6]), mean, torch.tensor([math.log(1e-4)]))
    nll.sum().backward()
    z = (0.8 - 1 / 255) / 0.01  # the bin's nearer end carries the mass
    assert float(nll.detach()) == pytest.approx(-norm.logcdf(-z), rel=1e-5)
    assert mean.grad is not None
    assert float(mean.grad) == pytest.approx(z / 0.01, rel=1e-3)  # the tail's hazard rate is z (1 + 1 / z^2)


@pytest.mark.parametrize("log_variance", [-9.2, -3.0, 1.0])
def test_single_precision_agrees_with_double(log_variance: float) -> None:
    single, double = grid(0.1, log_variance, torch.float32), grid(0.1, log_variance, torch.float64)
    # The bin's mass is a difference of logarithms near ln 2, each right to
    # 6e-8. It is 2 / 255 density wide, so its relative error, which is the
    # absolute one of the cost, is below 1e-7 * 255 std = 4e-5 at std 1.65.
    torch.testing.assert_close(single.double(), double, rtol=2e-5, atol=5e-5)


def test_gradients_of_the_cost_are_right() -> None:
    generator = torch.Generator().manual_seed(0)
    x0 = LEVELS[torch.tensor([0, 3, 100, 180, 255])]
    mean = (x0 + 0.05 * torch.randn(5, generator=generator, dtype=torch.float64)).requires_grad_()
    log_variance = torch.linspace(-8, -2, 5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda m, v: discretised_nll(x0, m, v), (mean, log_variance))


def test_divergence_of_gaussians_equals_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(1)
    mean1, log_variance1, mean2, log_variance2 = torch.randn(4, 50, generator=generator, dtype=torch.float64)
    first = Normal(mean1, (0.5 * log_variance1).exp())
    second = Normal(mean2, (0.5 * log_variance2).exp())
    torch.testing.assert_close(
        gaussian_kl(mean1, log_variance1, mean2, log_variance2),
        kl_divergence(first, second),
        rtol=1e-12,
        atol=1e-12,
    )


def test_divergence_of_nearly_equal_variances_keeps_its_digits_in_single_precision() -> None:
    # KL = r^2 / 4 to first order in the log ratio r;
    # with r = 1e-3 that is 2.5e-7, less than one ulp of 1 + r.
    zero, ratio = torch.zeros(1), torch.tensor([1e-3])
    assert float(gaussian_kl(zero, ratio, zero, zero)) == pytest.approx(2.5e-7, rel=1e-3)


def test_the_tanh_approximation_is_the_formula_of_released_code() -> None:
    def cdf(z: float) -> float:
        return 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))

    std, mean = 0.05, 0.1
    for level, x0 in enumerate(LEVELS.tolist()):
        above, below = ((x0 + side / 255 - mean) / std for side in (1, -1))
        mass = cdf(above) if level == 0 else 1 - cdf(below) if level == 255 else cdf(above) - cdf(below)
        ours = discretised_nll(
            torch.tensor([x0], dtype=torch.float64),
            torch.tensor([mean]),
            torch.tensor([2 * math.log(std)]),
            "tanh",
        )
        assert float(ours) == pytest.approx(-math.log(max(mass, 1e-12)), rel=1e-6, abs=1e-6)


def test_the_tanh_approximation_is_off_by_half_a_bit_where_errors_are_four_standard_deviations() -> None:
    def apart(z: float) -> float:
        """Bits by which it costs more."""
        std = 0.03
        x0, mean = torch.tensor([0.0039215686]), torch.tensor([0.0039215686 - z * std])
        log_variance = torch.tensor([2 * math.log(std)])
        exact, tanh = (discretised_nll(x0, mean, log_variance, name) for name in ("exact", "tanh"))
        return float(tanh - exact) / math.log(2)

    assert abs(apart(1)) < 0.01
    assert abs(apart(2)) < 0.02
    assert 0.03 < apart(3) < 0.07
    assert 0.4 < apart(4) < 0.7
