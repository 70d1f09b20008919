"""Noise levels, canonical forms and the counts of the published grids."""

import itertools
import json
import subprocess
import sys

import pytest

from engine.samplers.base import SamplerBase
from engine.samplers.ddim import Ddim
from engine.samplers.edm_stochastic import S_CHURN, S_NOISE, S_TMAX, S_TMIN, EdmStochastic
from engine.samplers.euler import Euler
from engine.samplers.heun import Heun
from engine.samplers.registry import SAMPLERS
from engine.samplers.sigma_grid import sigma_grid

# The 18-step grid with sigma 0.002 .. 80 and rho 7 [P3
# Eq. 5], computed independently to three or four digits.
EDM_18 = [
    80,
    57.59,
    40.79,
    28.37,
    19.35,
    12.91,
    8.40,
    5.32,
    3.26,
    1.92,
    1.09,
    0.585,
    0.296,
    0.140,
    0.0599,
    0.0229,
    0.00753,
    0.002,
    0,
]


def form(sampler: SamplerBase) -> str:
    return json.dumps(sampler.canonical().form, sort_keys=True)


def test_sigma_grid_matches_the_published_18_step_grid() -> None:
    # Half a unit of the last digit printed, at worst 0.7 %.
    assert sigma_grid(18, 0.002, 80.0, 7.0) == pytest.approx(EDM_18, rel=7e-3, abs=1e-12)


def test_sigma_grid_ends_are_exact_and_one_step_is_allowed() -> None:
    assert sigma_grid(5, 0.002, 80.0, 7.0)[0] == 80.0
    assert sigma_grid(5, 0.002, 80.0, 7.0)[-2:] == (0.002, 0.0)
    assert sigma_grid(1, 0.002, 80.0, 7.0) == (80.0, 0.0)


@pytest.mark.parametrize(("num_steps", "distinct"), [(18, 859), (40, 1915), (256, 9571)])
@pytest.mark.slow
def test_full_stochastic_grid_has_the_expected_number_of_distinct_samplers(
    num_steps: int, distinct: int
) -> None:
    grid = list(itertools.product(S_CHURN, S_TMIN, S_TMAX, S_NOISE))
    assert len(grid) == 13_068
    forms = {
        form(EdmStochastic(num_steps=num_steps, s_churn=churn, s_tmin=low, s_tmax=high, s_noise=noise))
        for churn, low, high, noise in grid
    }
    assert len(forms) == distinct


def test_no_churn_makes_the_other_parameters_inert() -> None:
    assert form(EdmStochastic(num_steps=18, s_tmin=0.5, s_noise=1.01)) == form(Heun(num_steps=18))


def test_gamma_saturates_and_the_reason_says_from_where() -> None:
    ten, hundred = (EdmStochastic(num_steps=18, s_churn=churn) for churn in (10.0, 100.0))
    assert form(ten) == form(hundred)
    assert any("7.46" in reason for reason in ten.canonical().reasons)
    assert form(EdmStochastic(num_steps=256, s_churn=10.0)) != form(
        EdmStochastic(num_steps=256, s_churn=100.0)
    )


def test_an_interval_acts_only_through_the_steps_it_covers() -> None:
    assert form(EdmStochastic(num_steps=18, s_churn=5, s_tmax=60)) == form(
        EdmStochastic(num_steps=18, s_churn=5, s_tmax=79)
    )
    assert form(EdmStochastic(num_steps=18, s_churn=5, s_tmax=57)) != form(
        EdmStochastic(num_steps=18, s_churn=5, s_tmax=58)
    )
    assert form(EdmStochastic(num_steps=18, s_churn=5, s_tmin=1.2, s_tmax=1.3)) == form(Heun(num_steps=18))


def test_one_step_of_heun_is_one_step_of_euler() -> None:
    assert form(Heun(num_steps=1)) == form(Euler(num_steps=1, rho=3.0))
    assert form(Heun(num_steps=2)) != form(Euler(num_steps=2))


def test_ddim_timesteps_end_at_the_noisiest_and_have_no_repeats() -> None:
    assert Ddim(num_steps=10).timesteps == (0, 111, 222, 333, 444, 555, 666, 777, 888, 999)
    quadratic = Ddim(num_steps=50, tau="quadratic")
    assert quadratic.timesteps[-1] == 999
    assert len(set(quadratic.timesteps)) == quadratic.nfe < 50


def test_ddim_with_one_step_ignores_eta() -> None:
    assert form(Ddim(num_steps=1, eta=1)) == form(Ddim(num_steps=1))
    assert form(Ddim(num_steps=10, eta=1)) != form(Ddim(num_steps=10))


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_round_trips_through_json(name: str) -> None:
    sampler = SAMPLERS[name](num_steps=9)
    assert SAMPLERS[name].model_validate_json(sampler.model_dump_json()) == sampler
    assert form(sampler) == form(SAMPLERS[name](num_steps=9))


def test_planning_samplers_does_not_import_torch() -> None:
    code = "import sys, engine.config.experiment, engine.samplers.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
