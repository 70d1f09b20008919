"""A grid of samplers in one pass gives the images of each sampler alone, from fewer evaluations."""

import itertools
import json
import random
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from engine.evaluation.oracle import GaussianOracle
from engine.noise import Purpose, normal
from engine.posterior import Posterior
from engine.samplers.base import SamplerBase
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.samplers.deis import Deis
from engine.samplers.dpm_solver_pp import DpmSolverPp
from engine.samplers.edm_stochastic import S_CHURN, S_NOISE, S_TMAX, S_TMIN, EdmStochastic
from engine.samplers.euler import Euler
from engine.samplers.flow import Flow
from engine.samplers.heun import Heun
from engine.samplers.lms import Lms
from engine.samplers.steps import (
    DenoiseRequest,
    HistoryStep,
    NoiseFn,
    State,
    StateCoroutine,
    StepCoroutine,
    answer_request,
)
from engine.samplers.unipc import UniPc
from engine.sampling.prefix_sharing import Node, prefix_tree, sample_shared, shared_evaluations

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


class Packs:
    """Answers every question by itself, and remembers how many came together."""

    def __init__(self) -> None:
        self.oracle, self.sizes = CountingOracle(), list[int]()

    def __call__(self, asked: Sequence[DenoiseRequest]) -> list[Posterior]:
        self.sizes.append(len(asked))
        return [answer_request(ask, self.oracle) for ask in asked]


def noise(step: int) -> Tensor:
    return normal(0, Purpose.SAMPLER_STEP, KEYS, SHAPE, step)


LATENTS = normal(0, Purpose.LATENT, KEYS, SHAPE)


def random_sampler(draw: random.Random) -> SamplerBase:
    """Any sampler, from few enough choices that beginnings are often shared."""
    steps = draw.choice([1, 2, 5, 8])
    match draw.choice(
        ["euler", "heun", "edm", "edm", "ddim", "ddpm", "flow", "lms", "deis", "unipc", "dpm++"]
    ):
        case "euler":
            return Euler(num_steps=steps, grid=draw.choice(["edm", "vp"]))
        case "heun":
            return Heun(num_steps=steps)
        case "edm":
            churn, low, high = (
                draw.choice([0.0, 1.0, 30.0]),
                draw.choice([0.0, 0.05, 1.0]),
                draw.choice([0.5, 80.0]),
            )
            return EdmStochastic(
                num_steps=steps, s_churn=churn, s_tmin=low, s_tmax=high, s_noise=draw.choice([1.0, 1.007])
            )
        case "ddim":
            covariance = draw.choice(["none", "ocm"])
            return Ddim(num_steps=steps, eta=draw.choice([0.0, 0.5, 1.0]), covariance=covariance)
        case "ddpm":
            return Ddpm(num_steps=steps, covariance=draw.choice(["beta", "beta_tilde", "ocm"]))
        case "lms":
            return Lms(num_steps=steps, solver_order=draw.choice([1, 2, 3, 4]))
        case "deis":
            return Deis(num_steps=steps, solver_order=draw.choice([1, 2, 3]))
        case "unipc":
            order, variant = draw.choice([1, 2, 3]), draw.choice(["bh1", "bh2"])
            return UniPc(num_steps=steps, solver_order=order, variant=variant)
        case "dpm++":
            eta, solver_type = draw.choice([0.0, 1.0]), draw.choice(["midpoint", "heun"])
            return DpmSolverPp(num_steps=steps, eta=eta, solver_type=solver_type)
        case _:
            return Flow(num_steps=steps, method=draw.choice(["euler", "heun", "rk4"]), sigma_max=80.0)


def tree_of(samplers: Sequence[SamplerBase]) -> Node:
    return prefix_tree((number, sampler.program()) for number, sampler in enumerate(samplers))


@pytest.mark.parametrize("steps_per_batch", [1, 2, 5, 1000])
@pytest.mark.parametrize("seed", range(20))
def test_images_are_those_of_each_sampler_alone_bit_for_bit(seed: int, steps_per_batch: int) -> None:
    draw = random.Random(seed)
    samplers = [random_sampler(draw) for _ in range(25)]
    tree, packs, emitted = tree_of(samplers), Packs(), list[tuple[int, Tensor]]()
    sample_shared(tree, packs, LATENTS, noise, lambda number, x: emitted.append((number, x)), steps_per_batch)
    assert sorted(number for number, _ in emitted) == list(range(25))
    for number, x in emitted:
        assert torch.equal(x, samplers[number].sample(CountingOracle(), LATENTS, noise)), samplers[
            number
        ].label
    assert packs.oracle.calls == sum(packs.sizes) == tree.evaluations == shared_evaluations(samplers)
    assert max(packs.sizes) <= steps_per_batch
    assert packs.oracle.calls < sum(sampler.nfe for sampler in samplers)


@pytest.mark.parametrize(
    ("steps_per_batch", "sizes"), [(1, [1] * 40), (3, [3] * 10 + [2] * 5), (4, [4] * 10), (9, [8] * 5)]
)
def test_as_many_steps_are_answered_together_as_share_a_batch(steps_per_batch: int, sizes: list[int]) -> None:
    packs = Packs()
    samplers = [Euler(num_steps=5, sigma_max=10.0 + number) for number in range(8)]
    sample_shared(tree_of(samplers), packs, LATENTS, noise, lambda number, x: None, steps_per_batch)
    assert packs.sizes == sizes


def test_a_step_that_ends_makes_room_for_the_next() -> None:
    # 7, 3 and 4 questions, two at a time: the third sampler starts when the second ends.
    samplers = [Heun(num_steps=4), Euler(num_steps=3, sigma_max=70.0), Euler(num_steps=4, sigma_max=60.0)]
    packs = Packs()
    sample_shared(tree_of(samplers), packs, LATENTS, noise, lambda number, x: None, 2)
    assert packs.sizes == [2] * 7


@dataclass(frozen=True)
class Move:
    """A step of `evaluations` questions, told apart by its name, that lists the states it makes."""

    name: int
    evaluations: int
    made: list[weakref.ref[Tensor]] = field(compare=False, repr=False)

    def run(self, x: Tensor, noise: NoiseFn) -> StepCoroutine:
        for _ in range(self.evaluations):
            yield DenoiseRequest(x, 1.0)
        state = x + 1
        self.made.append(weakref.ref(state))
        return state


@pytest.mark.parametrize("steps_per_batch", [1, 2, 4, 16])
@pytest.mark.parametrize("seed", range(5))
def test_a_bounded_number_of_states_of_every_level_waits(seed: int, steps_per_batch: int) -> None:
    draw, levels, made, alive = random.Random(seed), 8, list[weakref.ref[Tensor]](), list[int]()
    choices = [
        [Move(name, draw.randrange(3), made) for name in range(draw.choice([2, 4]))] for _ in range(levels)
    ]
    tree = prefix_tree(enumerate(tuple(draw.choice(moves) for moves in choices) for _ in range(300)))

    def counted(asked: Sequence[DenoiseRequest]) -> list[Posterior]:
        alive.append(sum(ref() is not None for ref in made))
        return [Posterior(ask.x) for ask in asked]

    sample_shared(tree, counted, LATENTS, noise, lambda number, x: None, steps_per_batch)
    assert len(made) > 300
    # Those of every level but the last, those that steps
    # under way left, and the one that the newest step left.
    assert max(alive) <= steps_per_batch * (levels - 1) + steps_per_batch + 1


@pytest.mark.parametrize("seed", range(10))
def test_one_step_at_a_time_the_states_that_wait_are_those_of_the_waiting_tensors(seed: int) -> None:
    draw, levels, made, alive = random.Random(seed), 8, list[weakref.ref[Tensor]](), list[int]()
    widths = [1, *(draw.choice([1, 2, 3]) for _ in range(levels - 1))]
    choices = [[Move(name, 1, made) for name in range(width)] for width in widths]
    tree = prefix_tree(enumerate(tuple(draw.choice(moves) for moves in choices) for _ in range(30)))

    def counted(asked: Sequence[DenoiseRequest]) -> list[Posterior]:
        alive.append(sum(ref() is not None for ref in made))
        return [Posterior(ask.x) for ask in asked]

    sample_shared(tree, counted, LATENTS, noise, lambda number, x: None)
    # A last branch holds the state it leaves from, which waits
    # for no other, and the step before it names its own.
    assert tree.waiting_tensors() <= max(alive) <= tree.waiting_tensors() + 2
    assert tree.waiting_tensors() <= tree.waiting_tensors(steps_per_batch=2) == levels


@dataclass(frozen=True)
class Remember(HistoryStep):
    """A step of one question that leaves a history, told
    apart by its name, and lists the tensors it leaves."""

    name: int
    made: list[weakref.ref[Tensor]] = field(compare=False, repr=False)

    def run_on(self, state: State, noise: NoiseFn) -> StateCoroutine:
        yield DenoiseRequest(state.x, 1.0)
        left = State(state.x + 1, tuple(state.x + number for number in range(self.history_kept)))
        self.made.extend(weakref.ref(tensor) for tensor in (left.x, *left.history))
        return left


@pytest.mark.parametrize("steps_per_batch", [1, 2, 4])
@pytest.mark.parametrize("seed", range(10))
def test_histories_are_counted_among_the_tensors_that_wait(seed: int, steps_per_batch: int) -> None:
    draw, levels, longest, made, alive = random.Random(seed), 8, 3, list[weakref.ref[Tensor]](), list[int]()
    choices = [
        [Remember(draw.randrange(longest + 1), name, made) for name in range(draw.choice([1, 2, 3]))]
        for _ in range(levels)
    ]
    tree = prefix_tree(enumerate(tuple(draw.choice(steps) for steps in choices) for _ in range(30)))

    def counted(asked: Sequence[DenoiseRequest]) -> list[Posterior]:
        alive.append(sum(ref() is not None for ref in made))
        return [Posterior(ask.x) for ask in asked]

    sample_shared(tree, counted, LATENTS, noise, lambda number, x: None, steps_per_batch)
    # Besides what waits: what steps under way left, and what the newest step left;
    # the latents are not listed.
    beside = (steps_per_batch + 1) * (1 + longest)
    counted_once = tree.waiting_tensors(steps_per_batch)
    assert max(alive) <= steps_per_batch * counted_once + beside
    if steps_per_batch == 1:
        assert counted_once - 1 <= max(alive)
    assert tree.longest_history == max(step.history_kept for steps in choices for step in steps)


def test_multistep_samplers_share_where_x_and_what_they_keep_are_equal() -> None:
    # The first step is Euler's for all; what they keep of it is a slope, x0_hat, or x too.
    lms, deis = Lms(num_steps=8, solver_order=2), Deis(num_steps=8, solver_order=2)
    assert shared_evaluations([lms, deis]) == 8 + 7
    assert shared_evaluations([Euler(num_steps=8), lms]) == 8 + 8
    assert shared_evaluations([lms, DpmSolverPp(num_steps=8)]) == 8 + 8
    assert shared_evaluations([DpmSolverPp(num_steps=8), UniPc(num_steps=8)]) == 8 + 8
    assert (
        shared_evaluations([DpmSolverPp(num_steps=8), DpmSolverPp(num_steps=8, solver_type="heun")]) == 8 + 7
    )
    # Of LMS-3's second step the x is LMS-2's, but it keeps two slopes.
    assert Lms(num_steps=2, solver_order=3).program() == Lms(num_steps=2, solver_order=2).program()
    assert shared_evaluations([lms, Lms(num_steps=8, solver_order=3)]) == 8 + 7
    # UniPC-3 and UniPC-2 correct alike until the third step.
    assert shared_evaluations([UniPc(num_steps=8), UniPc(num_steps=8, solver_order=3)]) == 8 + 6


@pytest.mark.parametrize("seed", range(20))
def test_samplers_have_one_canonical_form_exactly_when_they_do_the_same(seed: int) -> None:
    draw = random.Random(seed)
    samplers = [random_sampler(draw) for _ in range(60)]
    for one, other in itertools.combinations(samplers, 2):
        assert (one.canonical().form == other.canonical().form) == (one.program() == other.program()), (
            one.label
        )


@pytest.mark.parametrize(
    ("num_steps", "alone", "shared"), [(18, 30_065, 8_681), (40, 151_285, 42_209)], ids=["NFE 35", "NFE 79"]
)
@pytest.mark.slow
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
    # At 8 steps the noise levels are 80, 38.2, 16.3, 6.0, 1.8, 0.40, 0.056, 0.002:
    # churn below 1 begins at step 5.
    churned = EdmStochastic(num_steps=8, s_churn=2, s_tmax=1.0)
    assert churned.churned_steps == (5, 8)
    # 5 Heun steps in common, then 2 Heun steps and Euler's last one each.
    assert shared_evaluations([Heun(num_steps=8), churned]) == 5 * 2 + 2 * (2 * 2 + 1)


def test_different_guidance_shares_nothing_and_counts_twice() -> None:
    samplers = [Heun(num_steps=4), Heun(num_steps=4, guidance=2.0), Heun(num_steps=4, guidance=0.0)]
    assert shared_evaluations(samplers) == 7 + 14 + 7


def test_equal_samplers_are_evaluated_once_and_each_gets_its_images() -> None:
    tree = prefix_tree((number, Euler(num_steps=5).program()) for number in range(3))
    packs, images = Packs(), {}
    sample_shared(tree, packs, LATENTS, noise, images.__setitem__)
    assert packs.sizes == [1] * 5
    assert all(torch.equal(images[number], images[0]) for number in range(3))
