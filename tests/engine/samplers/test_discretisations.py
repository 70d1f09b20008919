"""The four columns of noise levels in P3's Table 1, and what they mean for a sampler's identity."""

import json
import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from engine.evaluation.oracle import GaussianOracle
from engine.noise import Purpose, normal
from engine.process.processes import VeProcess, VpProcess
from engine.process.schedules import vp_sigmas
from engine.samplers.base import SamplerBase
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.euler import Euler
from engine.samplers.heun import Heun
from engine.samplers.sigma_grid import IDDPM_MAX_STEPS, TABLE_GRIDS, iddpm_grid, iddpm_table, ve_grid, vp_grid

ORACLE = GaussianOracle(0.5)
LATENTS = normal(0, Purpose.LATENT, torch.arange(64), (1,))
GRIDS = ["edm", *TABLE_GRIDS]


def form(sampler: SamplerBase) -> str:
    return json.dumps(sampler.canonical().form, sort_keys=True)


def no_noise(step: int) -> torch.Tensor:
    raise AssertionError("a deterministic sampler asked for noise")


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("num_steps", [1, 2, 18, 500])
def test_noise_levels_fall_strictly_to_zero(grid: Any, num_steps: int) -> None:
    sigmas = Heun(num_steps=num_steps, grid=grid).sigmas
    assert len(sigmas) == num_steps + 1
    assert all(high > low for high, low in pairwise(sigmas))
    assert sigmas[-1] == 0


def test_vp_levels_are_those_of_the_process_at_even_times() -> None:
    fractions = torch.linspace(1, 0, 25, dtype=torch.float64)
    levels = VpProcess(epsilon_t=1e-3).sigma_at(fractions)
    assert vp_grid(25)[:-1] == pytest.approx(levels.tolist(), rel=1e-12)
    assert vp_grid(25)[0] == pytest.approx(152.2, abs=0.05)


def test_ve_levels_are_those_of_the_process_at_even_times() -> None:
    levels = VeProcess().sigma_at(torch.linspace(1, 0, 25, dtype=torch.float64))
    assert ve_grid(25)[:-1] == pytest.approx(levels.tolist(), rel=1e-12)


def test_iddpm_levels_are_those_of_the_cosine_schedule() -> None:
    # u_j belongs to timestep M - j; sin^2 there is cos^2 here,
    # and clipping beta at 0.999 is clipping the ratio at C_1.
    table = iddpm_table()
    assert list(reversed(table[:-1])) == pytest.approx(vp_sigmas("cosine", 1000), rel=1e-9)
    assert (table[0], table[999]) == pytest.approx((20291, 0.00643), rel=1e-3)
    assert table[1000] == 0


def test_iddpm_levels_start_near_80_and_end_with_the_smallest_of_the_table() -> None:
    table = iddpm_table()
    # N = 3: indices 8, floor(8 + 991 / 2 + 1 / 2) and 999.
    assert iddpm_grid(3) == (table[8], table[504], table[999], 0.0)
    assert table[8] == pytest.approx(80, rel=5e-3)
    assert iddpm_grid(IDDPM_MAX_STEPS)[:-1] == table[8:-1]


def test_more_steps_than_the_iddpm_table_has_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="992 noise levels"):
        Euler(num_steps=IDDPM_MAX_STEPS + 1, grid="iddpm")
    assert len(Euler(num_steps=IDDPM_MAX_STEPS + 1, grid="ve").sigmas) == IDDPM_MAX_STEPS + 2


@pytest.mark.parametrize("grid", ["vp", "ve"])
@pytest.mark.parametrize(("kind", "order"), [(Euler, 1), (Heun, 2)])
def test_solvers_keep_their_order_on_every_smooth_grid(
    kind: type[Euler | Heun], order: int, grid: Any
) -> None:
    def error(num_steps: int) -> float:
        sampler = kind(num_steps=num_steps, grid=grid)
        first, last = sampler.sigmas[0], sampler.sigmas[-2]
        exact = ORACLE.ode_endpoint(LATENTS * first, first)
        # The last step is Euler's to 0 whatever N.
        # On Gaussian data it is short by std / sqrt(std^2 + last^2).
        end = exact * 0.5 / math.sqrt(0.25 + last**2)
        return float((sampler.sample(ORACLE.denoise, LATENTS, no_noise) - end).abs().mean())

    coarse, fine = (math.log2(a / b) for a, b in pairwise([error(n) for n in (128, 256, 512)]))
    # slope(N) = order + c / N + O(1 / N^2).
    assert 2 * fine - coarse == pytest.approx(order, abs=0.02)


def test_on_the_iddpm_grid_heun_improves_with_the_number_of_steps() -> None:
    # Its indices are rounded, so steps of a few indices are
    # uneven and no order can be read off beyond 100 steps.
    def error(num_steps: int) -> float:
        sampler = Heun(num_steps=num_steps, grid="iddpm")
        exact = ORACLE.ode_endpoint(LATENTS * sampler.sigmas[0], sampler.sigmas[0])
        return float((sampler.sample(ORACLE.denoise, LATENTS, no_noise) - exact).abs().mean())

    assert error(100) < error(50) / 3 < error(25) / 9


def test_the_form_of_the_edm_grid_is_what_it_was() -> None:
    assert form(Heun(num_steps=18)) == (
        '{"method": "heun", "num_steps": 18, "rho": 7.0, "sigma_max": 80.0, "sigma_min": 0.002}'
    )
    assert form(Euler(num_steps=1, grid="edm")) == '{"method": "euler", "num_steps": 1, "sigma_max": 80.0}'


@pytest.mark.parametrize("grid", TABLE_GRIDS)
def test_fields_of_the_edm_grid_are_inert_on_the_others_and_the_reasons_say_so(grid: Any) -> None:
    plain, changed = Heun(num_steps=18, grid=grid), Heun(num_steps=18, grid=grid, rho=3.0)
    assert form(plain) == form(changed) == json.dumps({"grid": grid, "method": "heun", "num_steps": 18})
    assert plain.canonical().reasons == ()
    assert any("rho do nothing" in reason for reason in changed.canonical().reasons)
    assert plain.label == f"Heun 18 {grid} grid"


@pytest.mark.parametrize("grid", TABLE_GRIDS)
def test_one_step_on_any_grid_is_one_step_from_its_largest_level(grid: Any) -> None:
    single = Heun(num_steps=1, grid=grid)
    assert form(single) == form(Euler(num_steps=1, sigma_max=single.sigmas[0]))


@pytest.mark.parametrize("kind", [Euler, Heun, EdmStochastic])
def test_two_steps_are_told_by_their_two_levels_alone(kind: type[Euler | Heun | EdmStochastic]) -> None:
    churn = {"s_churn": 1.0} if kind is EdmStochastic else {}
    plain, warped = (kind(num_steps=2, rho=rho, **churn) for rho in (7.0, 3.0))
    assert form(plain) == form(warped) != form(kind(num_steps=2, sigma_min=0.01, **churn))
    assert any("rho does nothing" in reason for reason in warped.canonical().reasons)
    assert form(kind(num_steps=3, **churn)) != form(kind(num_steps=3, rho=3.0, **churn))
    for grid in TABLE_GRIDS:
        first, second, _ = TABLE_GRIDS[grid](2)
        assert form(kind(num_steps=2, grid=grid, **churn)) == form(
            kind(num_steps=2, sigma_max=first, sigma_min=second, **churn)
        )


def test_levels_that_rise_are_refused() -> None:
    with pytest.raises(ValueError, match="sigma_min 90 is not below sigma_max 80"):
        Heun(num_steps=18, sigma_min=90.0)


@pytest.mark.parametrize("grid", TABLE_GRIDS)
def test_edm_stochastic_walks_the_grid_it_is_given(grid: Any) -> None:
    still, churned = (
        EdmStochastic(num_steps=12, grid=grid, s_churn=churn, s_tmax=1.0) for churn in (0.0, 5.0)
    )
    assert form(still) == form(Heun(num_steps=12, grid=grid))
    assert churned.canonical().form["grid"] == grid
    plain = Heun(num_steps=12, grid=grid).sample(ORACLE.denoise, LATENTS, no_noise)
    assert torch.equal(still.sample(ORACLE.denoise, LATENTS, no_noise), plain)
