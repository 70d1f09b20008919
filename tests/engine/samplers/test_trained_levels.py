"""Samplers keep to the noise levels that a network was shown [playbook 5.3]."""

import math
from itertools import pairwise

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from engine.denoiser import Denoiser
from engine.evaluation.oracle import EmpiricalOracle
from engine.noise import Purpose, normal
from engine.process.precond import Preconditioning
from engine.process.processes import DiscreteProcess
from engine.process.schedules import TERMINAL_SIGMA
from engine.samplers.base import NetworkFacts, SamplerBase
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.euler import Euler
from engine.samplers.flow import Flow
from engine.samplers.heun import Heun

VE = (0.02, 100.0)
EXPONENTIAL = (0.0100005, 6.5479)
DIGITS = torch.tensor(load_digits().images).flatten(1) / 8 - 1


def network(levels: tuple[float, float]) -> NetworkFacts:
    return NetworkFacts(
        objective="simple",
        prediction_objective="simple",
        has_null_label=False,
        knows_pure_noise=False,
        learned_variance=False,
        covariance_head=False,
        trained_levels=levels,
    )


@pytest.mark.parametrize("kind", [Euler, Heun, EdmStochastic])
@pytest.mark.parametrize(
    ("shown", "walked"),
    [(VE, (0.02, 80.0)), (EXPONENTIAL, EXPONENTIAL), ((0.0, TERMINAL_SIGMA), (0.002, 80.0))],
)
def test_sigma_min_is_the_larger_and_sigma_max_the_smaller_of_two(
    kind: type[Heun], shown: tuple[float, float], walked: tuple[float, float]
) -> None:
    held = kind(num_steps=18).within(shown)
    assert (held.sigmas[-2], held.sigmas[0]) == walked
    # The levels between are spread as ever: even in sigma^(1 / 7) [P3 Eq. 5].
    roots = [sigma ** (1 / 7) for sigma in held.sigmas[:-1]]
    gaps = [high - low for high, low in pairwise(roots)]
    assert gaps == pytest.approx([gaps[0]] * 17, rel=1e-9)


@pytest.mark.parametrize(
    ("grid", "walked"), [("vp", (0.02, 100.0)), ("ve", (0.02, 90.0)), ("iddpm", (0.02, 80.2))]
)
def test_other_grids_are_held_as_well(grid: str, walked: tuple[float, float]) -> None:
    shown = (0.02, 90.0) if grid == "ve" else VE
    sigmas = Heun(num_steps=40, grid=grid).within(shown).sigmas
    assert (sigmas[-2], sigmas[0]) == pytest.approx(walked, rel=0.1 if grid == "iddpm" else 1e-9)
    assert all(shown[0] * (1 - 1e-12) <= sigma <= shown[1] * (1 + 1e-12) for sigma in sigmas[:-1])
    assert all(high > low for high, low in pairwise(sigmas))


@pytest.mark.parametrize(
    "sampler", [Heun(num_steps=18), Ddim(num_steps=10), Ddpm(num_steps=10), Flow(num_steps=5, sigma_max=20)]
)
def test_a_sampler_that_asks_nowhere_else_stays_the_same(sampler: SamplerBase) -> None:
    assert sampler.within((0.001, 1000.0)) is sampler
    assert sampler.levels_note == ""
    held = sampler.within((0.05, 10.0))
    assert held.canonical().form != sampler.canonical().form
    assert held.within((0.001, 1000.0)) == sampler


def test_the_flag_lets_a_sampler_go_beyond() -> None:
    free = Heun(num_steps=18, beyond_trained_levels=True)
    assert free.within(EXPONENTIAL) is free
    assert free.canonical().form == Heun(num_steps=18).canonical().form


@pytest.mark.parametrize("path", ["linear", "vp"])
def test_a_flow_starts_at_the_highest_level_that_was_shown(path: str) -> None:
    pure, held = Flow(num_steps=5, path=path), Flow(num_steps=5, path=path).within((0.0, 80.0))
    assert held.canonical().form == Flow(num_steps=5, path=path, sigma_max=80.0).canonical().form
    assert pure.within((0.0, TERMINAL_SIGMA)) is pure
    assert "lowered from pure noise" in held.levels_note


def test_a_chain_chooses_among_the_timesteps_that_were_shown() -> None:
    # P1's linear chain: 1 + sigma_t^2 = 1 / prod (1 - beta).
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    sigmas = (1 / (1 - betas).cumprod(0) - 1).sqrt()
    inside = [t for t, sigma in enumerate(sigmas.tolist()) if 0.02 <= sigma <= 80]
    held = Ddim(num_steps=10).within((0.02, 80.0))
    assert (held.timesteps[0], held.timesteps[-1]) == (inside[0], inside[-1])
    assert len(held.timesteps) == held.nfe == 10
    gaps = [high - low for low, high in pairwise(held.timesteps)]
    assert max(gaps) - min(gaps) <= 1
    assert held.canonical().form["timesteps"] == list(held.timesteps)


def test_a_list_of_timesteps_is_refused_and_never_cut() -> None:
    listed = Ddim(num_steps=3, tau="listed", visit=(0, 500, 999))
    [(fields, reason)] = listed.level_conflicts(network((0.002, 80.0)), "sample")
    assert fields[0] == "sample.visit"
    assert "visit has timesteps outside 0 .. 929" in reason
    free = Ddim(num_steps=3, tau="listed", visit=(0, 500, 999), beyond_trained_levels=True)
    assert not [*free.level_conflicts(network((0.002, 80.0)), "sample")]


def test_too_few_levels_of_the_iddpm_table_are_said_before_anything_runs() -> None:
    [(fields, reason)] = Heun(num_steps=900, grid="iddpm").level_conflicts(network((0.1, 10.0)), "sample")
    assert fields[-1] == "sample.grid"
    assert "fewer than num_steps 900" in reason


def test_what_was_raised_and_lowered_is_said_in_words() -> None:
    assert Heun(num_steps=18).within(EXPONENTIAL).levels_note == (
        "noise levels 0.01 to 6.55: the lowest raised from 0.002 and the highest lowered from 80 "
        "to what the network was shown [playbook 5.3]"
    )
    assert Heun(num_steps=18).within(VE).levels_note.startswith("noise levels 0.02 to 80: the lowest raised")


class PerfectEps(nn.Module):
    """eps of the digits, exactly, at the noise level that it is told."""

    def __init__(self, sigmas: tuple[float, ...]) -> None:
        super().__init__()
        self.sigmas = sigmas

    def forward(self, x_t: Tensor, c_noise: Tensor, label: None, augment: None) -> Tensor:
        sigma = self.sigmas[round(float(c_noise[0]))]
        x = x_t.double() * math.sqrt(1 + sigma**2)
        return ((x - EmpiricalOracle(DIGITS).denoise(x, sigma)) / sigma).float()


def frechet(images: Tensor) -> float:
    """Of pixels: |mu - mu'|^2 + tr(C + C' - 2 (C C')^(1/2))."""
    a, b = images.T.cov(), DIGITS.T.cov()
    values, vectors = torch.linalg.eigh(a)
    root = vectors @ values.clamp(min=0).sqrt().diag() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()
    shift = (images.mean(0) - DIGITS.mean(0)).square().sum()
    return float(shift + a.trace() + b.trace() - 2 * cross)


def test_a_perfect_network_of_the_exponential_chain_gives_better_digits_within_its_levels() -> None:
    # Published beside the rule: 0.554 as it is and 0.400 within the levels, a ratio of 1.39, in
    # another feature space and with other latents. Here, on pixels: 0.344 and 0.241, a ratio of 1.42.
    process = DiscreteProcess(schedule="exponential")
    assert process.sigma_range == pytest.approx(EXPONENTIAL, rel=1e-4)
    denoise = Denoiser(PerfectEps(process.sigmas), Preconditioning(process, "eps"))
    latents = normal(0, Purpose.LATENT, torch.arange(512), (64,))

    def distance(sampler: Heun) -> float:
        return frechet(sampler.sample(denoise, latents, lambda step: latents))

    free, held = distance(Heun(num_steps=18)), distance(Heun(num_steps=18).within(process.sigma_range))
    assert free / held == pytest.approx(0.554 / 0.400, abs=0.1)


def test_a_flow_says_where_it_starts_with_a_network_that_was_not_shown_pure_noise() -> None:
    note = Flow(num_steps=10).within((0.02, 100.0)).levels_note
    assert note.startswith("starts at noise level 100, lowered from pure noise to what the network was shown")
    assert Flow(num_steps=10, sigma_max=50.0).within((0.02, 100.0)).levels_note == ""
