"""Every process: its time, its scale, what it tells the network, and the published ranges."""

import math

import pytest
import torch
from torch import Tensor

from engine.process.processes import (
    PROCESSES,
    DiscreteProcess,
    EdmProcess,
    FlowProcess,
    ProcessBase,
    VeProcess,
    VpProcess,
)
from engine.process.schedules import TERMINAL_SIGMA

VARIANTS: list[ProcessBase] = [
    *(process() for process in PROCESSES.values()),
    DiscreteProcess(schedule="cosine", num_timesteps=4000),
    DiscreteProcess(schedule="exponential", zero_terminal_snr=True),
    FlowProcess(path="vp"),
]
each_process = pytest.mark.parametrize("process", VARIANTS, ids=repr)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@each_process
def test_noise_rises_with_time_over_exactly_the_stated_range(process: ProcessBase) -> None:
    sigma = process.sigma_at(torch.linspace(0, 1, 1001, dtype=torch.float64))
    steps = sigma.diff()
    assert bool((steps > 0 if not isinstance(process, DiscreteProcess) else steps >= 0).all())
    low, high = process.sigma_range
    # exp, expm1 and tan of float64: a few roundings, amplified by ln(sigma_max / sigma_min)
    # < 10 in the exponent.
    assert float(sigma[0]) == pytest.approx(low, rel=1e-14, abs=0)
    assert float(sigma[-1]) == pytest.approx(high, rel=1e-14)


@each_process
def test_scale_is_within_zero_and_one_and_never_rises(process: ProcessBase) -> None:
    scale = process.scale(torch.logspace(-6, 8, 200, dtype=torch.float64))
    assert bool(((scale > 0) & (scale <= 1)).all())
    assert bool((scale.diff() <= 0).all())


@each_process
def test_c_noise_rises_with_the_noise_level_and_is_finite(process: ProcessBase) -> None:
    low, high = process.sigma_range
    c_noise = process.c_noise(
        torch.logspace(math.log10(max(low, 1e-6)), math.log10(high), 300, dtype=torch.float64)
    )
    assert bool(c_noise.isfinite().all())
    assert bool((c_noise.diff() >= 0).all())
    assert c_noise[-1] > c_noise[0]


@each_process
def test_the_velocity_is_the_derivative_of_the_path(process: ProcessBase) -> None:
    if isinstance(process, FlowProcess) and process.path == "vp":
        time = torch.linspace(0.001, 0.999, 9, dtype=torch.float64)
        p, q = process.velocity(process.sigma_at(time))
        angle = time * (math.pi / 2)
        # sigma = tan(angle), then 1 / sqrt(1 + sigma^2): at most ten roundings, none amplified.
        assert torch.allclose(p, -(math.pi / 2) * angle.sin(), rtol=1e-14, atol=0)
        assert torch.allclose(q, math.pi / 2 * angle.cos(), rtol=1e-13, atol=0)
    else:  # the straight path's
        p, q = process.velocity(tensor(0, 0.3, 1e9))
        assert (p.tolist(), q.tolist()) == ([-1.0] * 3, [1.0] * 3)


@pytest.mark.parametrize("sigma", [0.0, 1e-12, 1e-9, 1e-6])
def test_the_velocity_of_the_arc_is_right_at_tiny_noise(sigma: float) -> None:
    p, _ = FlowProcess(path="vp").velocity(tensor(sigma))
    # sin(atan(sigma)) = sigma (1 - sigma^2 / 2 + ...).
    assert float(p) == pytest.approx(-math.pi / 2 * sigma, rel=1e-11)


@pytest.mark.parametrize("process", [VpProcess(), FlowProcess(), FlowProcess(path="vp")], ids=repr)
def test_time_and_noise_level_round_trip(process: VpProcess | FlowProcess) -> None:
    fractions = torch.linspace(0.001, 0.999, 99, dtype=torch.float64)
    start = process.epsilon_t if isinstance(process, VpProcess) else 0.0
    # Close to t = 1 rounding of t is amplified by d ln(sigma) / dt, about 1 / (1 - t) = 1000, and as much is
    # undone on the way back; at small t it is VP's root that cancels: relative rounding 1e-16 beta_min /
    # (beta_d t) = 5e-16 / t.
    expected = start + (1 - start) * fractions
    assert torch.allclose(process.time(process.sigma_at(fractions)), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "process", [process for process in VARIANTS if isinstance(process, DiscreteProcess)], ids=repr
)
def test_timesteps_and_noise_levels_round_trip(process: DiscreteProcess) -> None:
    count = process.num_timesteps
    steps = torch.arange(count)
    middle = (steps.double() + 0.5) / count
    assert torch.equal(process.timestep(process.sigma_at(middle)), steps)
    assert process.sigma_at(middle).tolist() == list(process.sigmas)
    assert torch.equal(process.c_noise(tensor(*process.sigmas)), steps.double() * (1000 / count))


def test_noise_levels_between_timesteps_get_the_nearest_in_log_and_beyond_the_ends_the_end() -> None:
    process = DiscreteProcess()
    first, second = process.sigmas[:2]
    boundary = math.sqrt(first * second)
    levels = tensor(1e-5, boundary * (1 - 1e-9), boundary * (1 + 1e-9), 1e5)
    assert process.timestep(levels).tolist() == [0, 0, 1, 999]


def test_published_ranges_of_noise_levels() -> None:
    # VP with epsilon_t = 1e-5: 0.001 and 152.2; VE as configured;
    # iDDPM's chain u_{M-1} = 0.00643, u_0 = 20291.
    low, high = VpProcess().sigma_range
    assert (round(low, 5), round(high, 1)) == (0.001, 152.2)
    assert VeProcess().sigma_range == (0.02, 100.0)
    assert EdmProcess().sigma_range == (0.002, 80.0)
    low, high = DiscreteProcess(schedule="cosine").sigma_range
    assert (round(low, 5), round(high)) == (0.00643, 20291)
    assert FlowProcess().sigma_range == (0.0, TERMINAL_SIGMA)


def test_what_the_network_is_told_is_the_papers_choice() -> None:
    sigma = tensor(0.02, 0.5, 80.0)
    assert torch.allclose(EdmProcess().c_noise(sigma), sigma.log() / 4, rtol=1e-15)
    assert torch.allclose(VeProcess().c_noise(sigma), (sigma / 2).log(), rtol=1e-15)
    vp = VpProcess()
    assert torch.allclose(vp.c_noise(vp.sigma_at(tensor(0, 1))), 999 * tensor(vp.epsilon_t, 1), rtol=1e-9)
    assert FlowProcess().c_noise(tensor(0.0, 1.0, TERMINAL_SIGMA)).tolist() == pytest.approx(
        [0, 500, 1000], rel=1e-7
    )


@pytest.mark.parametrize("kind", [VeProcess, EdmProcess])
def test_a_range_that_does_not_rise_is_refused(kind: type[VeProcess] | type[EdmProcess]) -> None:
    with pytest.raises(ValueError, match="sigma_min 3 is not below sigma_max 2"):
        kind(sigma_min=3.0, sigma_max=2.0)
