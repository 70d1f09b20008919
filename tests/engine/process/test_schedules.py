"""Schedules of the discrete chain: published end values and zero terminal SNR."""

import math
from itertools import pairwise

import pytest
import torch

from engine.process.schedules import SCHEDULES, TERMINAL_SIGMA, alpha_bars, sigma_of, vp_sigmas

# alpha_bar_T at T = 1000, to the digits given.
LAST_ALPHA_BAR = {
    "linear": (4.036e-5, 1e-3),
    "scaled_linear": (4.66e-3, 1e-3),
    "cosine": (2.4e-9, 2e-2),
    "exponential": (0.0228, 3e-3),
    "sigmoid": (3.97e-5, 2e-3),
}


def betas_of(table: tuple[float, ...]) -> list[float]:
    """1 - alpha_bar_t / alpha_bar_{t-1}, with alpha_bar_0 = 1 before the first timestep."""
    return [1 - after / before for before, after in pairwise((1.0, *table))]


@pytest.mark.parametrize("num_timesteps", [2, 10, 1000, 4000])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_alpha_bar_falls_and_sigma_rises_at_every_step(schedule: str, num_timesteps: int) -> None:
    table = alpha_bars(schedule, num_timesteps)
    assert len(table) == num_timesteps
    assert all(1 > before > after > 0 for before, after in pairwise(table))
    assert all(before < after for before, after in pairwise(vp_sigmas(schedule, num_timesteps)))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_terminal_alpha_bar_is_the_published_one(schedule: str) -> None:
    value, digits = LAST_ALPHA_BAR[schedule]
    assert alpha_bars(schedule, 1000)[-1] == pytest.approx(value, rel=digits)
    assert alpha_bars(schedule, 1000)[0] > 0.999


def test_terminal_noise_levels_are_the_published_ones() -> None:
    assert vp_sigmas("linear", 1000)[0] == pytest.approx(0.0100, rel=1e-3)
    assert vp_sigmas("linear", 1000)[-1] == pytest.approx(157.4, rel=1e-3)
    assert vp_sigmas("scaled_linear", 1000)[-1] == pytest.approx(14.615, rel=1e-4)
    assert vp_sigmas("cosine", 1000)[-1] == pytest.approx(20291, rel=1e-4)
    assert vp_sigmas("cosine", 1000)[0] == pytest.approx(0.00643, rel=1e-3)
    assert vp_sigmas("cosine", 4000)[-1] == pytest.approx(81165, rel=1e-4)
    assert alpha_bars("cosine", 1000)[998] == pytest.approx(2.4e-6, rel=2e-2)


def test_cosine_clips_exactly_its_last_beta() -> None:
    betas = SCHEDULES["cosine"](1000)
    assert betas[-1] == 0.999
    assert max(betas[:-1]) < 0.999


@pytest.mark.parametrize(
    ("schedule", "ends"),
    [
        ("linear", (2.5e-5, 5e-3)),
        ("scaled_linear", (0.00085 / 4, 0.012 / 4)),
        ("exponential", (2.5e-5, 5e-3)),
        # A sigmoid over [-6, 6] stops 1 / (1 + e^6) short of both ends.
        ("sigmoid", (2.5e-5 + 4.975e-3 / (1 + math.exp(6)), 5e-3 - 4.975e-3 / (1 + math.exp(6)))),
    ],
)
def test_betas_scale_with_the_number_of_timesteps(schedule: str, ends: tuple[float, float]) -> None:
    betas = SCHEDULES[schedule](4000)
    assert (betas[0], betas[-1]) == (pytest.approx(ends[0]), pytest.approx(ends[1]))
    # The sum of all betas, which is -ln alpha_bar_T to first order, then does not depend on T but for the
    # ends: their share is 1 / 1000 of the table, times a largest beta at most 10 times the mean one.
    assert sum(betas) == pytest.approx(sum(SCHEDULES[schedule](1000)), rel=1e-2)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_zero_terminal_snr_keeps_the_first_timestep_and_ends_in_pure_noise(schedule: str) -> None:
    plain, table = alpha_bars(schedule, 1000), alpha_bars(schedule, 1000, zero_terminal_snr=True)
    assert table[-1] == 0.0
    # One product and one quotient of float64, squared: at most 8 roundings of 1.1e-16.
    assert table[0] == pytest.approx(plain[0], rel=1e-15)
    assert betas_of(table)[-1] == 1.0
    assert all(before > after for before, after in pairwise(table))
    # Nowhere less noise than before; early on the two are equal, up to the same roundings.
    assert all(after <= before * (1 + 1e-15) for before, after in zip(plain, table, strict=True))
    assert vp_sigmas(schedule, 1000, zero_terminal_snr=True)[-1] == TERMINAL_SIGMA


def test_the_formula_of_the_seeds_is_not_zero_terminal_snr() -> None:
    table = alpha_bars("linear", 1000)
    factor = (1 - table[0]) / (1 - table[-1])
    left = math.prod(1 - beta * factor for beta in betas_of(table))
    assert left == pytest.approx(0.999, abs=5e-5)


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "cosine"])
def test_zero_terminal_snr_agrees_with_an_independent_implementation(schedule: str) -> None:
    scheduling = pytest.importorskip("diffusers.schedulers.scheduling_ddim")
    betas = torch.tensor(betas_of(alpha_bars(schedule, 1000)), dtype=torch.float32)
    theirs = scheduling.rescale_zero_terminal_snr(betas)
    ours = torch.tensor(alpha_bars(schedule, 1000, zero_terminal_snr=True), dtype=torch.float64)
    assert theirs[-1] == 1.0
    # Their roots of alpha_bar come from a float32 product of a thousand
    # factors, and each of their betas is rounded to float32 again: relative
    # errors of 1000 * 2^-24 twice, on values of at most 1 that are squared.
    alpha_bar = (1 - theirs.double()).cumprod(0)
    assert torch.allclose(alpha_bar, ours, rtol=0, atol=4 * 1000 * 2**-24)


def test_an_alpha_bar_of_zero_has_the_terminal_noise_level() -> None:
    assert sigma_of(0.0) == TERMINAL_SIGMA
    assert sigma_of(1e-20) == TERMINAL_SIGMA
    assert sigma_of(0.5) == 1.0
    # It stands for infinity: float32 sees no trace of x0 beside noise that large.
    assert torch.tensor(1.0) + TERMINAL_SIGMA == TERMINAL_SIGMA
