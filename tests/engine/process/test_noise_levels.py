"""Distributions of the training noise level, compared with
their distribution functions on evenly spread draws."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from engine.objectives.design import Design
from engine.process.noise_levels import (
    NOISE_LEVELS,
    LinearUniform,
    LogitNormal,
    LogNormal,
    LogUniform,
    LossSecondMoment,
    NoiseLevelsBase,
    UniformTime,
    standard_normal,
)
from engine.process.processes import (
    DiscreteProcess,
    EdmProcess,
    FlowProcess,
    ProcessBase,
    VeProcess,
    VpProcess,
)
from engine.process.weighting import UniformWeight
from engine.training.levels import LevelDrawer

COUNT = 2000
DRAWS = (torch.arange(COUNT, dtype=torch.float64) + 0.5) / COUNT
"""One draw from the middle of each of 2,000 equal slices."""


def normal_cdf(z: Tensor) -> Tensor:
    return torch.special.ndtr(z)


def vp_time(sigma: Tensor) -> Tensor:
    process = VpProcess()
    return (process.time(sigma) - process.epsilon_t) / (1 - process.epsilon_t)


CASES: list[tuple[NoiseLevelsBase, ProcessBase, Callable[[Tensor], Tensor]]] = [
    (UniformTime(), VpProcess(), vp_time),
    (UniformTime(), VeProcess(), lambda sigma: (sigma / 0.02).log() / math.log(5000)),
    (UniformTime(), EdmProcess(), lambda sigma: (sigma - 0.002) / (80 - 0.002)),
    (UniformTime(), FlowProcess(), lambda sigma: sigma / (1 + sigma)),
    (UniformTime(), FlowProcess(path="vp"), lambda sigma: sigma.atan() / (math.pi / 2)),
    (LogNormal(), EdmProcess(), lambda sigma: normal_cdf((sigma.log() + 1.2) / 1.2)),
    (LogNormal(mean=-0.4, std=1.0), VpProcess(), lambda sigma: normal_cdf(sigma.log() + 0.4)),
    (LogUniform(), VeProcess(), lambda sigma: (sigma / 0.02).log() / math.log(5000)),
    (LinearUniform(), EdmProcess(), lambda sigma: (sigma - 0.002) / (80 - 0.002)),
    (
        LogitNormal(),
        FlowProcess(),
        lambda sigma: normal_cdf(sigma.log()),
    ),  # logit(t) = ln(t / (1 - t)) = ln(sigma)
    (LogitNormal(mean=0.5, std=2.0), FlowProcess(), lambda sigma: normal_cdf((sigma.log() - 0.5) / 2)),
]


@pytest.mark.parametrize(
    ("levels", "process", "cdf"), CASES, ids=lambda part: "cdf" if callable(part) else repr(part)
)
def test_draws_follow_the_distribution(
    levels: NoiseLevelsBase, process: ProcessBase, cdf: Callable[[Tensor], Tensor]
) -> None:
    sigma = levels.sigma(DRAWS, process)
    assert sigma.dtype == torch.float64
    assert bool((sigma.diff() > 0).all())
    # The distribution function at the u-quantile is u: Kolmogorov's distance of these
    # draws is half a slice, exactly. Quantiles are inverted with 1e-16 relative,
    # amplified by at most ln(5000) in exponents, and by 1 / t = 4,000 in times as small
    # as half a slice; sigma - 0.002 loses 80 / 0.04 at the first draw of the linear ones.
    assert float((cdf(sigma) - DRAWS).abs().max()) < 1e-11


@pytest.mark.parametrize("levels", [UniformTime(), LossSecondMoment()], ids=repr)
def test_every_timestep_of_a_chain_is_drawn_equally_often(levels: NoiseLevelsBase) -> None:
    process = DiscreteProcess(num_timesteps=1000)
    counts = process.timestep(levels.sigma(DRAWS, process)).bincount(minlength=1000)
    assert counts.tolist() == [COUNT // 1000] * 1000


def test_uniform_draws_reach_both_ends_of_the_chain() -> None:
    process = DiscreteProcess(schedule="cosine")
    ends = UniformTime().sigma(torch.tensor([1e-12, 1 - 1e-12], dtype=torch.float64), process)
    assert ends.tolist() == [process.sigmas[0], process.sigmas[-1]]


def test_edms_quantiles() -> None:
    quantiles = torch.tensor([0.5, 0.8413447460685429, 0.15865525393145707], dtype=torch.float64)
    expected = [math.exp(-1.2), math.exp(0.0), math.exp(-2.4)]
    assert LogNormal().sigma(quantiles, EdmProcess()).tolist() == pytest.approx(expected, rel=1e-12)


def test_the_normal_quantile_inverts_the_normal_distribution_far_into_its_tails() -> None:
    uniform = torch.tensor([2.0**-33, 1e-6, 0.3, 0.5, 1 - 1e-6], dtype=torch.float64)
    # 2 u - 1 keeps an absolute 1e-16 of u: relative 1e-16 / 2^-33 = 1e-6 at the smallest draw there is.
    assert torch.allclose(normal_cdf(standard_normal(uniform)), uniform, rtol=2e-6, atol=0)


@pytest.mark.parametrize("kind", sorted(set(NOISE_LEVELS) - {"loss_second_moment"}))
def test_a_stratified_batch_has_one_draw_in_every_slice(kind: str) -> None:
    levels, size = NOISE_LEVELS[kind](stratified=True), 8
    process = VpProcess()
    drawer = LevelDrawer(Design(process, "eps", UniformWeight(), levels), size)
    uniform = torch.linspace(0.999, 0.001, size, dtype=torch.float64)
    sigma = drawer.draw(uniform, torch.arange(5 * size, 6 * size)).sigma
    edges = levels.sigma(torch.arange(1, size, dtype=torch.float64) / size, process)
    assert torch.bucketize(sigma, edges).tolist() == list(range(size))
    assert not NOISE_LEVELS[kind]().stratified


@pytest.mark.parametrize("kind", [LogUniform, LinearUniform])
def test_a_range_that_does_not_rise_is_refused(kind: type[LogUniform] | type[LinearUniform]) -> None:
    with pytest.raises(ValueError, match="sigma_min 3 is not below sigma_max 2"):
        kind(sigma_min=3.0, sigma_max=2.0)
