"""The tau rules: the timesteps of each source, and that what is declared is what is evaluated."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.evaluation.oracle import GaussianOracle
from engine.noise import Purpose, normal
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.samplers.timesteps import TAU_RULES, TauName, timesteps


@pytest.mark.parametrize("tau", TAU_RULES)
@pytest.mark.parametrize("num_timesteps", [10, 1000, 4000])
def test_timesteps_rise_without_repeats_inside_the_chain(tau: TauName, num_timesteps: int) -> None:
    for num_steps in {2, 3, 7, 10, 50, 100, 999} & set(range(num_timesteps + 1)):
        chosen = timesteps(tau, num_steps, num_timesteps)
        assert list(chosen) == sorted(set(chosen))
        assert set(chosen) <= set(range(num_timesteps))


def test_the_papers_rules_end_at_the_noisiest_timestep() -> None:
    assert timesteps("linear", 10, 1000) == (0, 111, 222, 333, 444, 555, 666, 777, 888, 999)
    assert timesteps("quadratic", 4, 1000) == (0, 111, 444, 999)


def test_released_linear_ends_a_stride_early_and_may_take_an_extra_step() -> None:
    assert timesteps("released_linear", 50, 1000)[-1] == 980
    assert len(timesteps("released_linear", 30, 1000)) == 31


@pytest.mark.parametrize(("num_steps", "repeats"), [(20, 0), (50, 1), (100, 4)])
def test_released_quadratic_ends_at_four_fifths_and_repeats_are_visited_once(
    num_steps: int, repeats: int
) -> None:
    released = [int(value) for value in np.linspace(0, math.sqrt(0.8 * 1000), num_steps) ** 2]
    chosen = timesteps("released_quadratic", num_steps, 1000)
    assert chosen == tuple(sorted(set(released)))
    assert chosen[-1] == 800
    assert len(chosen) == num_steps - repeats


@pytest.mark.parametrize("num_steps", [5, 10, 20, 50, 250])
def test_even_is_the_one_based_rule_of_ocm_but_for_halves(num_steps: int) -> None:
    positions = [k * 999 / (num_steps - 1) for k in range(num_steps)]
    # Rounding halves to even takes the other side after a shift by one.
    pairs = zip(timesteps("even", num_steps, 1000), positions, strict=True)
    assert all(ours == round(1 + position) - 1 for ours, position in pairs if position % 1 != 0.5)


def test_even_rounds_halves_to_even() -> None:
    assert timesteps("even", 3, 1000) == (0, 500, 999)  # 499.5
    assert timesteps("even", 3, 998) == (0, 498, 997)  # 498.5


def test_trailing_starts_at_the_last_timestep_and_steps_evenly_to_x0() -> None:
    assert timesteps("trailing", 4, 1000) == (249, 499, 749, 999)
    assert timesteps("trailing", 1, 1000) == (999,)


@pytest.mark.parametrize("tau", ["linear", "released_linear", "even", "trailing"])
def test_all_timesteps_are_visited_when_there_are_as_many_steps(tau: TauName) -> None:
    assert timesteps(tau, 10, 10) == tuple(range(10))


@pytest.mark.parametrize("tau", ["released_linear", "released_quadratic", "even"])
def test_a_single_step_from_pure_noise_at_timestep_0_is_an_error(tau: TauName) -> None:
    with pytest.raises(ValueError, match="visits timestep 0 alone"):
        Ddim(num_steps=1, tau=tau)


def test_more_steps_than_timesteps_are_an_error() -> None:
    with pytest.raises(ValueError, match="num_steps 11 exceeds num_timesteps 10"):
        Ddpm(num_steps=11, num_timesteps=10)


@pytest.mark.parametrize("kind", [Ddim, Ddpm])
@pytest.mark.parametrize("tau", TAU_RULES)
@pytest.mark.parametrize("num_steps", [2, 7, 30, 50])
def test_counted_evaluations_equal_the_declared_nfe(
    kind: type[Ddim | Ddpm], tau: TauName, num_steps: int
) -> None:
    calls, sampler = [], kind(num_steps=num_steps, tau=tau)

    def counting(x: Tensor, sigma: float) -> Tensor:
        calls.append(sigma)
        return GaussianOracle(0.5).denoise(x, sigma)

    noise = normal(0, Purpose.LATENT, torch.arange(2), (1, 2, 2))
    sampler.sample(counting, noise, lambda step: noise)
    assert len(calls) == len(set(calls)) == sampler.nfe


def test_a_rule_that_takes_more_or_fewer_steps_says_so() -> None:
    assert any(
        "31 timesteps" in reason for reason in Ddim(num_steps=30, tau="released_linear").canonical().reasons
    )
    assert any(
        "49 timesteps" in reason
        for reason in Ddim(num_steps=50, tau="released_quadratic").canonical().reasons
    )


def test_rules_that_visit_the_same_timesteps_are_one_sampler() -> None:
    assert Ddim(num_steps=10, tau="even").canonical().form == Ddim(num_steps=10).canonical().form
    assert Ddim(num_steps=30, tau="released_linear").canonical().form != Ddim(num_steps=31).canonical().form
