"""A grid of samplers in one pass gives the images of each sampler alone, from fewer evaluations."""

import itertools
import json
import random

import pytest
import torch
from torch import Tensor

from engine.noise import Purpose, normal
from engine.oracle import GaussianOracle
from engine.playbook import S_CHURN, S_NOISE, S_TMAX, S_TMIN
from engine.samplers import Ddim, Ddpm, EdmStochastic, Euler, Flow, Heun, SamplerBase
from engine.samplers.base import Posterior
from engine.samplers.shared import prefix_tree, sample_shared, shared_evaluations

SHAPE = (1, 2, 2)
KEYS = torch.arange(3)


class CountingOracle:
    """The exact denoiser of N(0, 0.5^2) data, and how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        self.calls += 1
        return GaussianOracle(0.5).denoise(x, sigma)

    def posterior(self, x: Tensor, sigma: float) -> Posterior:
        self.calls += 1
        return GaussianOracle(0.5).posterior(x, sigma)


def noise(step: int) -> Tensor:
    return normal(0, Purpose.SAMPLER_STEP, KEYS, SHAPE, step)


LATENTS = normal(0, Purpose.LATENT, KEYS, SHAPE)


def random_sampler(draw: random.Random) -> SamplerBase:
    """Any sampler, from few enough choices that beginnings are often shared."""
    steps = draw.choice([1, 2, 5, 8])
    match draw.choice(["euler", "heun", "edm", "edm", "ddim", "ddpm", "flow"]):
        case "euler":
            return Euler(num_steps=steps, grid=draw.choice(["edm", "vp"]))
        case "heun":
            return Heun(num_steps=steps)
        case "edm":
            churn, low, high = draw.choice([0.0, 1.0, 30.0]), draw.choice([0.0, 0.05, 1.0]), draw.choice([0.5, 80.0])
            return EdmStochastic(
                num_steps=steps, s_churn=churn, s_tmin=low, s_tmax=high, s_noise=draw.choice([1.0, 1.007])
            )
        case "ddim":
            covariance = draw.choice(["none", "ocm"])
            return Ddim(num_steps=steps, eta=draw.choice([0.0, 0.5, 1.0]), covariance=covariance)
        case "ddpm":
            return Ddpm(num_steps=steps, covariance=draw.choice(["beta", "beta_tilde", "ocm"]))
        case _:
            return Flow(num_steps=steps, method=draw.choice(["euler", "heun", "rk4"]), sigma_max=80.0)


@pytest.mark.parametrize("seed", range(20))
def test_images_are_those_of_each_sampler_alone_bit_for_bit(seed: int) -> None:
    draw = random.Random(seed)
    samplers = [random_sampler(draw) for _ in range(25)]
    tree = prefix_tree((number, sampler.program()) for number, sampler in enumerate(samplers))
    oracle, images = CountingOracle(), {}
    sample_shared(tree, oracle, LATENTS, noise, images.__setitem__)
    assert sorted(images) == list(range(25))
    for number, sampler in enumerate(samplers):
        assert torch.equal(images[number], sampler.sample(CountingOracle(), LATENTS, noise)), sampler.label
    assert oracle.calls == tree.evaluations == shared_evaluations(samplers)
    assert oracle.calls < sum(sampler.nfe for sampler in samplers)


@pytest.mark.parametrize("seed", range(20))
def test_samplers_have_one_canonical_form_exactly_when_they_do_the_same(seed: int) -> None:
    draw = random.Random(seed)
    samplers = [random_sampler(draw) for _ in range(60)]
    for one, other in itertools.combinations(samplers, 2):
        assert (one.canonical().form == other.canonical().form) == (one.program() == other.program()), one.label


@pytest.mark.parametrize(
    ("num_steps", "alone", "shared"), [(18, 30_065, 8_681), (40, 151_285, 42_209)], ids=["NFE 35", "NFE 79"]
)
def test_the_whole_stochastic_grid_costs_what_its_distinct_beginnings_cost(
    num_steps: int, alone: int, shared: int
) -> None:
    grid = itertools.product(S_CHURN, S_TMIN, S_TMAX, S_NOISE)
    distinct: dict[str, SamplerBase] = {}
    for churn, low, high, scale in grid:
        sampler = EdmStochastic(num_steps=num_steps, s_churn=churn, s_tmin=low, s_tmax=high, s_noise=scale)
        distinct.setdefault(json.dumps(sampler.canonical().form, sort_keys=True), sampler)
    assert sum(sampler.nfe for sampler in distinct.values()) == alone
    assert shared_evaluations(distinct.values()) == shared


def test_a_deterministic_sampler_shares_up_to_the_first_churned_step() -> None:
    # At 8 steps the noise levels are 80, 38.2, 16.3, 6.0, 1.8, 0.40, 0.056, 0.002: churn below 1 begins at step 5.
    churned = EdmStochastic(num_steps=8, s_churn=2, s_tmax=1.0)
    assert churned.churned_steps == (5, 8)
    # 5 Heun steps in common, then 2 Heun steps and Euler's last one each.
    assert shared_evaluations([Heun(num_steps=8), churned]) == 5 * 2 + 2 * (2 * 2 + 1)


def test_different_guidance_shares_nothing_and_counts_twice() -> None:
    samplers = [Heun(num_steps=4), Heun(num_steps=4, guidance=2.0), Heun(num_steps=4, guidance=0.0)]
    assert shared_evaluations(samplers) == 7 + 14 + 7


def test_equal_samplers_are_evaluated_once_and_each_gets_its_images() -> None:
    tree = prefix_tree((number, Euler(num_steps=5).program()) for number in range(3))
    oracle, images = CountingOracle(), {}
    sample_shared(tree, oracle, LATENTS, noise, images.__setitem__)
    assert oracle.calls == 5
    assert all(torch.equal(images[number], images[0]) for number in range(3))
