"""The tau rules: the timesteps of each source, and that what is declared is what is evaluated."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.evaluation.oracle import GaussianOracle
from engine.evaluation.sampler_conformance import Check, check_canonical_form, check_cost
from engine.noise import Purpose, normal
from engine.samplers.base import NetworkFacts, SamplerBase
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.samplers.timesteps import TAU_RULES, TauName, section_timesteps, timesteps

RELEASED: dict[str, list[int]] = json.loads(
    (Path(__file__).parents[2] / "data" / "timesteps.json").read_text()
)
"""What released programs visit, rising [tests/data/README.md]."""


def released_rows(program: str) -> Iterator[tuple[int, str, list[int]]]:
    """(T, rule, timesteps) of each of a program's rows."""
    for name, visited in RELEASED.items():
        source, length, rule = name.split(" ", 2)
        if source == program:
            yield int(length.removeprefix("T=")), rule, visited


@pytest.mark.parametrize("tau", TAU_RULES)
@pytest.mark.parametrize("num_timesteps", [10, 1000, 4000])
def test_timesteps_rise_without_repeats_inside_the_chain(tau: TauName, num_timesteps: int) -> None:
    for num_steps in {2, 3, 7, 10, 50, 100, 999} & set(range(num_timesteps + 1)):
        strides = (stride for stride in range(1, num_timesteps) if -(-num_timesteps // stride) == num_steps)
        if tau == "strided" and not any(strides):
            continue
        chosen = timesteps(tau, num_steps, num_timesteps)
        assert list(chosen) == sorted(set(chosen))
        assert set(chosen) <= set(range(num_timesteps))


@pytest.mark.parametrize(("num_timesteps", "rule", "visited"), list(released_rows("improved_diffusion")))
def test_p1s_code_visits_what_its_rules_here_do(num_timesteps: int, rule: str, visited: list[int]) -> None:
    if rule.startswith("ddim"):
        ours = timesteps("strided", int(rule.removeprefix("ddim")), num_timesteps)
    else:
        counts = tuple(map(int, rule.split(",")))
        ours = section_timesteps(counts, num_timesteps)
        if len(counts) == 1:
            assert timesteps("even", counts[0], num_timesteps) == ours
        sampler = Ddim(num_steps=sum(counts), num_timesteps=num_timesteps, tau="sections", sections=rule)  # type: ignore[arg-type]
        assert sampler.timesteps == ours
    assert list(ours) == visited


@pytest.mark.parametrize(("num_timesteps", "rule", "visited"), list(released_rows("ocm_dpm")))
def test_p6s_and_analytic_dpms_code_visits_what_its_rules_here_do(
    num_timesteps: int, rule: str, visited: list[int]
) -> None:
    name, num_steps = rule.split(" ")
    tau = {"linear": "even_one_based", "linear_ddim": "released_linear", "quad_ddim": "released_quadratic"}[
        name
    ]
    # Their timesteps count from 1, and repeats stay, where a step goes nowhere.
    expected = sorted({timestep - 1 for timestep in visited})
    assert list(timesteps(tau, int(num_steps), num_timesteps)) == expected


def test_all_rows_of_released_programs_are_looked_at() -> None:
    looked_at = [*released_rows("improved_diffusion"), *released_rows("ocm_dpm")]
    assert len(looked_at) == len(RELEASED) > 50


def test_how_often_rules_that_sound_alike_differ() -> None:
    def apart(one: TauName, other: TauName, num_steps: int) -> bool:
        try:
            return timesteps(one, num_steps, 1000) != timesteps(other, num_steps, 1000)
        except ValueError:
            return False

    # 1-based rounding: 58 numbers of steps of 1,000 differ, 25 steps in three places.
    assert sum(apart("even", "even_one_based", steps) for steps in range(2, 1001)) == 58
    pairs = zip(timesteps("even", 25, 1000), timesteps("even_one_based", 25, 1000), strict=True)
    assert sum(one != other for one, other in pairs) == 3
    # P1's ddimN and P2's stride differ only where N does not divide T.
    differing = [steps for steps in range(2, 1001) if apart("strided", "released_linear", steps)]
    assert len(differing) >= 46
    assert all(1000 % steps for steps in differing)


def test_dits_250_timesteps_are_not_the_papers_linear_ones() -> None:
    pairs = zip(timesteps("even", 250, 1000), timesteps("linear", 250, 1000), strict=True)
    assert sum(even != linear for even, linear in pairs) == 123
    assert list(timesteps("even", 250, 1000)) == RELEASED["improved_diffusion T=1000 250"]


def test_sections_and_listed_timesteps_are_refused_with_their_reason() -> None:
    for fields, words in (
        ({"num_steps": 45, "tau": "sections"}, "need each other"),
        ({"num_steps": 45, "sections": [10, 15, 20]}, "need each other"),
        (
            {"num_steps": 44, "tau": "sections", "sections": [10, 15, 20]},
            "makes 45 steps, and num_steps is 44",
        ),
        ({"num_steps": 25, "tau": "sections", "sections": "ddim25"}, "is tau strided with num_steps 25"),
        ({"num_steps": 25, "tau": "sections", "sections": "a,b"}, "no list of numbers"),
        ({"num_steps": 7, "tau": "sections", "sections": [6, 1], "num_timesteps": 10}, "6 steps do not fit"),
        ({"num_steps": 2, "tau": "listed", "visit": [9, 3]}, "rising"),
        ({"num_steps": 2, "tau": "listed", "visit": [0, 1000]}, "within 0 .. 999"),
        ({"num_steps": 3, "tau": "listed", "visit": [0, 9]}, "makes 2 steps"),
        ({"num_steps": 60, "tau": "strided"}, "no stride visits 60 of 1000"),
    ):
        with pytest.raises(ValueError, match=words):
            Ddim.model_validate(fields)


def test_listed_timesteps_are_visited_and_are_one_sampler_with_a_rule_that_visits_them() -> None:
    listed = Ddim(num_steps=4, tau="listed", visit=(0, 333, 666, 999))
    assert listed.timesteps == (0, 333, 666, 999)
    assert Ddim.model_validate({"num_steps": 4, "tau": "listed", "visit": "0,333,666,999"}) == listed
    assert listed.canonical().form == Ddim(num_steps=4).canonical().form
    assert Ddpm.model_validate_json(
        Ddpm(**listed.model_dump(exclude={"kind", "eta", "noisy", "covariance", "clip"})).model_dump_json()
    ).visit == (0, 333, 666, 999)


def test_a_comparison_with_more_steps_needs_a_rule_that_has_them() -> None:
    knows = NetworkFacts("edm", "edm", False, False, False, False)
    for sampler in (
        Ddim(num_steps=2, tau="listed", visit=(0, 999)),
        Ddim(num_steps=2, tau="sections", sections=(1, 1)),
        Ddim(num_steps=2, tau="strided"),
    ):
        (fields, message), *_ = sampler.conflicts(knows, 60)
        assert fields == ("eval.consistency.num_steps", "sample.tau")
        assert "60" in message
    assert not list(Ddim(num_steps=2, tau="strided").conflicts(knows, 100))


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
def test_even_is_the_one_based_rule_but_for_halves(num_steps: int) -> None:
    positions = [k * 999 / (num_steps - 1) for k in range(num_steps)]
    # Rounding halves to even takes the other side after a shift by one.
    rules = (timesteps(tau, num_steps, 1000) for tau in ("even", "even_one_based"))
    pairs = zip(*rules, positions, strict=True)
    assert all(even == one_based for even, one_based, position in pairs if position % 1 != 0.5)


def test_even_rounds_halves_to_even() -> None:
    assert timesteps("even", 3, 1000) == (0, 500, 999)  # 499.5
    assert timesteps("even", 3, 998) == (0, 498, 997)  # 498.5


def test_trailing_starts_at_the_last_timestep_and_steps_evenly_to_x0() -> None:
    assert timesteps("trailing", 4, 1000) == (249, 499, 749, 999)
    assert timesteps("trailing", 1, 1000) == (999,)


@pytest.mark.parametrize(
    "tau", ["linear", "released_linear", "even", "even_one_based", "strided", "trailing"]
)
def test_all_timesteps_are_visited_when_there_are_as_many_steps(tau: TauName) -> None:
    assert timesteps(tau, 10, 10) == tuple(range(10))


@pytest.mark.parametrize("tau", ["released_linear", "released_quadratic", "even", "even_one_based"])
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


@pytest.mark.parametrize("check", [check_cost, check_canonical_form], ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    "sampler",
    [
        Ddim(num_steps=6, tau="sections", sections=(1, 2, 3)),
        Ddpm(num_steps=3, tau="listed", visit=(0, 400, 999)),
    ],
    ids=lambda sampler: sampler.label,
)
def test_samplers_with_steps_of_their_own_keep_their_word(check: Check, sampler: SamplerBase) -> None:
    check(sampler)
