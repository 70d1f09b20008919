"""Samplers against closed-form solutions: order of convergence, marginals and special cases."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from engine.evaluation.oracle import GaussianOracle
from engine.noise import Purpose, normal
from engine.process.schedules import alpha_bars
from engine.samplers.base import SamplerBase
from engine.samplers.ddim import Ddim
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.euler import Euler
from engine.samplers.heun import Heun

STD = 0.5
ORACLE = GaussianOracle(STD)


def latents(count: int = 64, shape: tuple[int, ...] = (1, 2, 2)) -> Tensor:
    return normal(0, Purpose.LATENT, torch.arange(count), shape)


def keyed_noise(count: int, shape: tuple[int, ...]):
    return lambda step: normal(0, Purpose.SAMPLER_STEP, torch.arange(count), shape, step)


def no_noise(step: int) -> Tensor:
    raise AssertionError("a deterministic sampler asked for noise")


def endpoint_error(sampler: SamplerBase) -> float:
    start = latents()
    exact = ORACLE.ode_endpoint(start * 80.0, 80.0)
    return float((sampler.sample(ORACLE.denoise, start, no_noise) - exact).abs().max())


@pytest.mark.parametrize(("kind", "order"), [(Euler, 1), (Heun, 2)])
def test_order_of_convergence_on_gaussian_data(kind: type[SamplerBase], order: int) -> None:
    # The last step, from sigma_min to 0, is Euler's for every method and leaves an error of order sigma_min^2
    # that more steps do not remove; sigma_min = 1e-4 pushes it to 1e-8, far below the errors measured here.
    errors = [endpoint_error(kind(num_steps=n, sigma_min=1e-4)) for n in (128, 256, 512)]
    coarse, fine = (math.log2(a / b) for a, b in pairwise(errors))
    # slope(N) = order + c / N + O(1 / N^2), so 2 slope(2N) - slope(N) is the order up to O(1 / N^2).
    assert abs(2 * fine - coarse - order) < 0.02


def test_ddim_at_eta_0_is_first_order_in_its_own_noise_levels() -> None:
    start = latents()
    table = alpha_bars("linear", 1000)

    def error(num_steps: int) -> float:
        sampler = Ddim(num_steps=num_steps)
        sigma = math.sqrt((1 - table[-1]) / table[-1])
        exact = ORACLE.ode_endpoint(start / math.sqrt(table[-1]), sigma)
        return float((sampler.sample(ORACLE.denoise, start, no_noise) - exact).abs().max())

    # Steps that divide 999 give evenly spaced timesteps;
    # the final jump to x0 is below the error at these sizes.
    assert 0.85 < math.log2(error(38) / error(112)) / math.log2(111 / 37) < 1.15


def test_ddim_at_eta_0_is_euler_on_its_noise_levels() -> None:
    sampler, table, start = Ddim(num_steps=10), alpha_bars("linear", 1000), latents()
    levels = [math.sqrt((1 - table[t]) / table[t]) for t in reversed(sampler.timesteps)] + [0.0]
    x = start / math.sqrt(table[-1])
    for sigma, sigma_next in pairwise(levels):
        x = x + (sigma_next - sigma) * (x - ORACLE.denoise(x, sigma)) / sigma
    # The same map in other coordinates: only float64 rounding, amplified by the largest noise level (157).
    assert torch.allclose(sampler.sample(ORACLE.denoise, start, no_noise), x, rtol=0, atol=1e-12)


def test_edm_without_churn_is_heun_bit_for_bit() -> None:
    start = latents()
    for inert in (
        EdmStochastic(num_steps=12),
        EdmStochastic(num_steps=12, s_churn=30, s_tmin=0.5, s_tmax=0.4),
    ):
        plain = Heun(num_steps=12).sample(ORACLE.denoise, start, no_noise)
        assert torch.equal(inert.sample(ORACLE.denoise, start, no_noise), plain)


def test_stochastic_edm_keeps_the_data_variance() -> None:
    shape, count = (1, 8, 8), 1500
    sampler = EdmStochastic(num_steps=160, s_churn=40, s_tmin=0.05, s_tmax=50)
    x = sampler.sample(ORACLE.denoise, latents(count, shape), keyed_noise(count, shape))
    # Five standard errors of a variance estimate, plus Heun's own bias measured without churn.
    plain = Heun(num_steps=160).sample(ORACLE.denoise, latents(count, shape), no_noise)
    bias = abs(float(plain.var()) - STD**2)
    assert abs(float(x.var()) - STD**2) < 5 * STD**2 * math.sqrt(2 / x.numel()) + bias + 0.002 * STD**2
    assert not torch.allclose(x, plain, atol=0.01)


def test_more_noise_than_theory_widens_the_samples() -> None:
    shape, count = (1, 4, 4), 500
    settings = {"num_steps": 60, "s_churn": 40.0, "s_tmin": 0.05, "s_tmax": 1.0}
    variances = [
        float(
            EdmStochastic(**settings, s_noise=s)
            .sample(ORACLE.denoise, latents(count, shape), keyed_noise(count, shape))
            .var()
        )
        for s in (1.0, 1.01)
    ]
    assert variances[1] > variances[0]


def test_ancestral_ddim_on_the_full_schedule_keeps_unit_variance() -> None:
    oracle, shape, count = GaussianOracle(1.0), (1, 4, 4), 1000
    x = Ddim(num_steps=1000, eta=1).sample(oracle.denoise, latents(count, shape), keyed_noise(count, shape))
    # For N(0, 1) data the reverse variances beta and beta_tilde bracket the exact one: relative error O(1/T).
    assert abs(float(x.var()) - 1) < 5 * math.sqrt(2 / x.numel()) + 2e-2


@pytest.mark.parametrize(
    "sampler",
    [
        Euler(num_steps=1),
        Euler(num_steps=7),
        Heun(num_steps=1),
        Heun(num_steps=18),
        Ddim(num_steps=1),
        Ddim(num_steps=50, tau="quadratic"),
        EdmStochastic(num_steps=18, s_churn=5),
        EdmStochastic(num_steps=1, s_churn=0.2),
    ],
    ids=lambda sampler: sampler.label,
)
def test_counted_evaluations_equal_the_declared_nfe(sampler: SamplerBase) -> None:
    calls = 0

    def counting(x: Tensor, sigma: float) -> Tensor:
        nonlocal calls
        calls += 1
        return ORACLE.denoise(x, sigma)

    x = sampler.sample(counting, latents(4), keyed_noise(4, (1, 2, 2)))
    assert calls == sampler.nfe
    assert torch.isfinite(x).all()


def test_published_evaluation_counts() -> None:
    assert [Heun(num_steps=n).nfe for n in (18, 40, 256)] == [35, 79, 511]
