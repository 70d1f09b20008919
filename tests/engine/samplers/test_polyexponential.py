"""k-diffusion's polyexponential noise levels."""

import math

import pytest

from engine.samplers.euler import Euler
from engine.samplers.heun import Heun


@pytest.mark.parametrize("rho", [1.0, 0.5, 3.0])
def test_levels_are_k_diffusions_formula(rho: float) -> None:
    # get_sigmas_polyexponential: exp(ramp (ln max - ln min) + ln min), ramp = linspace(1, 0, n)^rho.
    sampler = Heun(
        num_steps=7, grid="polyexponential", polyexponential_rho=rho, sigma_min=0.03, sigma_max=14.6
    )
    ramp = [(1 - i / 6) ** rho for i in range(7)]
    expected = [math.exp(r * (math.log(14.6) - math.log(0.03)) + math.log(0.03)) for r in ramp]
    assert sampler.sigmas == pytest.approx((*expected, 0.0), rel=1e-12)


def test_with_rho_1_neighbours_have_one_ratio_and_another_rho_is_another_sampler() -> None:
    *levels, last = Euler(num_steps=5, grid="polyexponential").sigmas
    ratios = [levels[i + 1] / levels[i] for i in range(4)]
    assert (levels[0], levels[-1], last) == pytest.approx((80, 0.002, 0))
    assert ratios == pytest.approx([(0.002 / 80) ** (1 / 4)] * 4)
    one, other = (Euler(num_steps=5, grid="polyexponential", polyexponential_rho=rho) for rho in (1.0, 2.0))
    assert one.canonical().form != other.canonical().form
