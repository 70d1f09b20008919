"""Schedules, noise levels and solvers against an independent implementation."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.evaluation.oracle import GaussianOracle
from engine.noise import Purpose, normal
from engine.posterior import Posterior
from engine.process.covariance import ReverseStep
from engine.process.schedules import alpha_bars
from engine.samplers.chain import ChainSampler
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.samplers.euler import Euler
from engine.samplers.heun import Heun
from engine.samplers.sigma_grid import sigma_grid
from engine.samplers.timesteps import timesteps

diffusers = pytest.importorskip("diffusers")

ORACLE = GaussianOracle(0.5)


@pytest.mark.parametrize(("ours", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")])
def test_alpha_bars_agree(ours: str, theirs: str) -> None:
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=1000, beta_schedule=theirs)
    # They multiply a thousand float32 factors: relative rounding 1000 * 6e-8; the last cosine beta is 1 -
    # 1e-3, whose float32 complement is known to 6e-5 only.
    table = torch.tensor(alpha_bars(ours, 1000)).float()
    assert torch.allclose(scheduler.alphas_cumprod[:-1], table[:-1], rtol=6e-5, atol=0)
    assert torch.allclose(scheduler.alphas_cumprod[-1], table[-1], rtol=2e-4, atol=0)


def test_edm_noise_levels_agree() -> None:
    scheduler = diffusers.EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, rho=7.0)
    scheduler.set_timesteps(18)
    # float32, raised to the seventh power.
    assert torch.allclose(
        scheduler.sigmas.double(), torch.tensor(sigma_grid(18, 0.002, 80.0, 7.0)).double(), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("sampler", "scheduler_name"),
    [(Euler(num_steps=18), "EulerDiscreteScheduler"), (Heun(num_steps=18), "HeunDiscreteScheduler")],
)
def test_deterministic_solvers_agree_step_by_step(sampler: Euler | Heun, scheduler_name: str) -> None:
    scheduler = getattr(diffusers, scheduler_name)(prediction_type="sample")
    scheduler.set_timesteps(sampler.num_steps)
    levels = torch.tensor(sampler.sigmas)
    # Their solver on our noise levels; Heun keeps every inner level twice, once for each evaluation.
    repeated = (
        levels
        if scheduler_name.startswith("Euler")
        else torch.cat([levels[:1], levels[1:-1].repeat_interleave(2), levels[-1:]])
    )
    scheduler.sigmas = repeated
    scheduler.timesteps = torch.arange(len(repeated) - 1, dtype=torch.float32)
    latents = normal(0, Purpose.LATENT, torch.arange(16), (1, 4, 4)).float()
    x: Tensor = latents * levels[0]
    for step, timestep in enumerate(scheduler.timesteps):
        x = scheduler.step(ORACLE.denoise(x, float(repeated[step])), timestep, x).prev_sample
    ours = sampler.sample(ORACLE.denoise, latents.double(), lambda step: torch.empty(0))
    # float32 states of size up to 80 * 4, contracted to about 0.5 by the end:
    # 36 evaluations at 6e-8 relative.
    assert torch.allclose(x.double(), ours, rtol=0, atol=2e-5)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_steps_agree(eta: float) -> None:
    scheduler = diffusers.DDIMScheduler(beta_schedule="linear", clip_sample=False, prediction_type="sample")
    scheduler.set_timesteps(
        9
    )  # their previous timestep is always 1000 // 9 = 111 earlier, which is our spacing
    sampler, shape = Ddim(num_steps=10, eta=eta), (1, 4, 4)
    noises = [normal(0, Purpose.SAMPLER_STEP, torch.arange(8), shape, step) for step in range(10)]
    x = normal(0, Purpose.LATENT, torch.arange(8), shape)
    ours = sampler.sample(ORACLE.denoise, x, lambda step: noises[step])
    table = scheduler.alphas_cumprod.double()
    for step, (timestep, _) in enumerate(pairwise([*reversed(sampler.timesteps), -1])):
        x0_hat = ORACLE.denoise(
            x / table[timestep].sqrt(), float(((1 - table[timestep]) / table[timestep]).sqrt())
        )
        x = scheduler.step(x0_hat, timestep, x, eta=eta, variance_noise=noises[step]).prev_sample
    # Their alpha_bar is float32: 6e-5 relative by the end of the table (see above), over ten steps.
    assert torch.allclose(x.double(), ours, rtol=0, atol=6e-4)


class Wide:
    """Predictions beyond [-1, 1], so that clipping matters, with a learned variance;
    remembers every state."""

    def __init__(self, table: tuple[float, ...], steps: tuple[int, ...]) -> None:
        self.levels = [table[t] for t in reversed(steps)]
        self.states: list[Tensor] = []

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        self.states.append(x * math.sqrt(self.levels[len(self.states)]))
        return GaussianOracle(1.5).denoise(x, sigma)

    def posterior(self, x: Tensor, sigma: float) -> Posterior:
        return Posterior(self(x, sigma), range_fraction=x.sin())


def step_noise(step: int, shape: tuple[int, ...] = (8, 1, 4, 4)) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


def trajectory(sampler: ChainSampler) -> list[Tensor]:
    """x_t at every visited timestep, noisiest first, and the images."""
    table = alpha_bars(sampler.schedule, sampler.num_timesteps)
    listening = Wide(table, sampler.timesteps)
    images = sampler.sample(listening, normal(0, Purpose.LATENT, torch.arange(8), (1, 4, 4)), step_noise)
    return [*listening.states, images]


def largest_step_error(scheduler: Any, sampler: ChainSampler, **options: Any) -> float:
    """Largest difference of one step of theirs, started from our states, from ours."""
    table, states, error = alpha_bars(sampler.schedule, sampler.num_timesteps), trajectory(sampler), 0.0
    for step, (t, (x, x_next)) in enumerate(zip(reversed(sampler.timesteps), pairwise(states), strict=True)):
        scaled, sigma = x / math.sqrt(table[t]), math.sqrt((1 - table[t]) / table[t])
        predicted = GaussianOracle(1.5).denoise(scaled, sigma)
        if scheduler.config.get("variance_type") == "learned_range":
            predicted = torch.cat([predicted, scaled.sin()], dim=1)
        settings = {name: value(step) for name, value in options.items()}
        theirs = scheduler.step(predicted, t, x, **settings).prev_sample
        error = max(error, float((theirs - x_next).abs().max()))
    return error


TABLE_ERROR = 3e-7
"""Error of their float32 alpha_bar, linear schedule:
a walk of 100 roundings of 3e-8, after which the product falls."""

# One step from a common state, both of size 5 at most. How fast a weight moves
# with alpha_bar: the root of the smallest 1 - alpha_bar, 1e-4, by 1 / (2 * 0.01) =
# 50; ratios over the smallest 1 - alpha_bar above timestep 0, 0.13, by at most 1 /
# 0.13^2 = 60. Two states and a noise, each with a weight of at most one of each.
STEP_ERROR = 5 * 3 * (50 + 60) * TABLE_ERROR


def test_their_alpha_bars_are_as_far_off_as_the_step_errors_assume() -> None:
    theirs = diffusers.DDPMScheduler(beta_schedule="linear").alphas_cumprod.double()
    assert (
        float((theirs - torch.tensor(alpha_bars("linear", 1000), dtype=torch.float64)).abs().max())
        < TABLE_ERROR
    )


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize(
    ("covariance", "variance_type"),
    [("beta_tilde", "fixed_small"), ("beta", "fixed_large"), ("learned_range", "learned_range")],
)
def test_ddpm_steps_agree(covariance: Any, variance_type: str, clip: bool) -> None:
    sampler = Ddpm(num_steps=10, covariance=covariance, clip_x0=clip)
    scheduler = diffusers.DDPMScheduler(
        variance_type=variance_type, clip_sample=clip, prediction_type="sample", beta_schedule="linear"
    )
    scheduler.set_timesteps(timesteps=list(reversed(sampler.timesteps)))
    error = largest_step_error(scheduler, sampler, generator=lambda step: torch.Generator().manual_seed(step))
    assert error < STEP_ERROR
    other = sampler.model_copy(update={"clip_x0": not clip})
    assert (
        largest_step_error(scheduler, other, generator=lambda step: torch.Generator().manual_seed(step)) > 0.1
    )


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("clip", ["none", "x0", "x0_and_eps"])
def test_ddim_agrees_in_all_three_ways_to_clip(clip: Any, eta: float) -> None:
    scheduler = diffusers.DDIMScheduler(
        clip_sample=clip != "none", prediction_type="sample", beta_schedule="linear"
    )
    scheduler.set_timesteps(9)  # their previous timestep is 111 earlier, as ours
    options = {"use_clipped_model_output": lambda step: clip == "x0_and_eps", "eta": lambda step: eta}
    sampler = Ddim(num_steps=10, eta=eta, clip=clip)
    assert largest_step_error(scheduler, sampler, variance_noise=step_noise, **options) < STEP_ERROR


@pytest.mark.parametrize(("spacing", "tau"), [("linspace", "even"), ("trailing", "trailing")])
def test_rounded_timesteps_agree_but_for_halves(spacing: str, tau: Any) -> None:
    scheduler = diffusers.DDPMScheduler(timestep_spacing=spacing)
    for count in range(2, 300):
        scheduler.set_timesteps(count)
        exact = [i * 999 / (count - 1) if tau == "even" else (i + 1) * 1000 / count for i in range(count)]
        visited = sorted(t for t in scheduler.timesteps.tolist() if t >= 0)
        pairs = zip(timesteps(tau, count, 1000), visited, strict=True)
        for position, (ours, theirs) in zip(exact, pairs, strict=True):
            # Where rounding to the nearest has two answers, the last bit of a sum of floats chooses.
            assert ours == theirs or (position % 1 == 0.5 and abs(ours - theirs) == 1)


def test_their_trailing_timesteps_may_end_below_0_and_ours_never_do() -> None:
    scheduler = diffusers.DDPMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(61)
    assert scheduler.timesteps.tolist()[-2:] == [15, -1]
    assert timesteps("trailing", 61, 1000)[:2] == (15, 32)


@pytest.mark.parametrize("count", [2, 4, 5, 8, 10, 20, 25, 50, 100, 250, 500])
def test_leading_is_released_linear_where_steps_divide_the_chain(count: int) -> None:
    scheduler = diffusers.DDPMScheduler(timestep_spacing="leading")
    scheduler.set_timesteps(count)
    assert scheduler.timesteps.tolist() == list(reversed(timesteps("released_linear", count, 1000)))


def test_leading_differs_from_released_linear_where_steps_do_not_divide() -> None:
    scheduler = diffusers.DDPMScheduler(timestep_spacing="leading")
    scheduler.set_timesteps(30)
    assert scheduler.timesteps.tolist() == list(reversed(timesteps("released_linear", 30, 1000)))[1:]


def test_their_ddim_steps_to_a_level_it_does_not_visit_next_and_ours_does_not() -> None:
    scheduler = diffusers.DDIMScheduler(
        timestep_spacing="linspace", clip_sample=False, prediction_type="sample", beta_schedule="linear"
    )
    scheduler.set_timesteps(10)
    sampler, table = Ddim(num_steps=10, tau="even"), alpha_bars("linear", 1000)
    assert scheduler.timesteps.tolist() == list(reversed(sampler.timesteps))
    x, ours = trajectory(sampler)[5:7]  # timesteps 444 and 333
    x0_hat = GaussianOracle(1.5).denoise(x / math.sqrt(table[444]), math.sqrt((1 - table[444]) / table[444]))
    theirs = scheduler.step(x0_hat, 444, x).prev_sample
    eps_hat = (x - math.sqrt(table[444]) * x0_hat) / math.sqrt(1 - table[444])
    to_344, to_333 = (ReverseStep(table[444], table[t], eta=0).mean(x0_hat, eps_hat) for t in (344, 333))
    assert torch.allclose(ours, to_333, rtol=0, atol=1e-14)
    assert torch.allclose(theirs, to_344, rtol=0, atol=STEP_ERROR)
    assert float((theirs - ours).abs().max()) > 2 * STEP_ERROR


def test_their_ddpm_adds_noise_to_the_images_unless_the_last_timestep_is_0_and_ours_never_does() -> None:
    scheduler = diffusers.DDPMScheduler(
        variance_type="fixed_large", clip_sample=False, prediction_type="sample", timestep_spacing="trailing"
    )
    scheduler.set_timesteps(10)
    sampler, table = (
        Ddpm(num_steps=10, tau="trailing", covariance="beta", clip_x0=False),
        alpha_bars("linear", 1000),
    )
    *_, x, images = trajectory(sampler)
    x0_hat = GaussianOracle(1.5).denoise(x / math.sqrt(table[99]), math.sqrt((1 - table[99]) / table[99]))
    assert torch.allclose(images, x0_hat, rtol=0, atol=1e-14)
    theirs = scheduler.step(x0_hat, 99, x, generator=torch.Generator().manual_seed(9)).prev_sample
    assert torch.allclose(theirs - x0_hat, math.sqrt(1 - table[99]) * step_noise(9), rtol=0, atol=STEP_ERROR)


def test_zero_terminal_snr_agrees_and_starts_from_pure_noise() -> None:
    scheduler = diffusers.DDPMScheduler(
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        prediction_type="v_prediction",
        beta_schedule="linear",
    )
    sampler = Ddim(num_steps=10, tau="trailing", zero_terminal_snr=True)
    ours = torch.tensor(sampler.alpha_bars[:-1], dtype=torch.float64)
    theirs = scheduler.alphas_cumprod[list(reversed(sampler.timesteps))].double()
    # A thousand float32 factors, as above; the last is 0 to them and TERMINAL_SIGMA^-2 to us.
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-7)
