"""Schedules, noise levels and solvers against an independent implementation."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from engine.noise import Purpose, normal
from engine.oracle import GaussianOracle
from engine.process.schedules import alpha_bars
from engine.samplers import Ddim, Euler, Heun
from engine.samplers.sigma_grid import sigma_grid

diffusers = pytest.importorskip("diffusers")

ORACLE = GaussianOracle(0.5)


@pytest.mark.parametrize(("ours", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")])
def test_alpha_bars_agree(ours: str, theirs: str) -> None:
    scheduler = diffusers.DDPMScheduler(num_train_timesteps=1000, beta_schedule=theirs)
    # They multiply a thousand float32 factors: relative rounding 1000 * 6e-8; the last cosine beta is 1 - 1e-3, whose
    # float32 complement is known to 6e-5 only.
    table = torch.tensor(alpha_bars(ours, 1000)).float()
    assert torch.allclose(scheduler.alphas_cumprod[:-1], table[:-1], rtol=6e-5, atol=0)
    assert torch.allclose(scheduler.alphas_cumprod[-1], table[-1], rtol=2e-4, atol=0)


def test_edm_noise_levels_agree() -> None:
    scheduler = diffusers.EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, rho=7.0)
    scheduler.set_timesteps(18)
    # float32, raised to the seventh power.
    assert torch.allclose(scheduler.sigmas.double(), torch.tensor(sigma_grid(18, 0.002, 80.0, 7.0)).double(), rtol=1e-5)


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
    # float32 states of size up to 80 * 4, contracted to about 0.5 by the end: 36 evaluations at 6e-8 relative.
    assert torch.allclose(x.double(), ours, rtol=0, atol=2e-5)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_steps_agree(eta: float) -> None:
    scheduler = diffusers.DDIMScheduler(beta_schedule="linear", clip_sample=False, prediction_type="sample")
    scheduler.set_timesteps(9)  # their previous timestep is always 1000 // 9 = 111 earlier, which is our spacing
    sampler, shape = Ddim(num_steps=10, eta=eta), (1, 4, 4)
    noises = [normal(0, Purpose.SAMPLER_STEP, torch.arange(8), shape, step) for step in range(10)]
    x = normal(0, Purpose.LATENT, torch.arange(8), shape)
    ours = sampler.sample(ORACLE.denoise, x, lambda step: noises[step])
    table = scheduler.alphas_cumprod.double()
    for step, (timestep, _) in enumerate(pairwise([*reversed(sampler.timesteps), -1])):
        x0_hat = ORACLE.denoise(x / table[timestep].sqrt(), float(((1 - table[timestep]) / table[timestep]).sqrt()))
        x = scheduler.step(x0_hat, timestep, x, eta=eta, variance_noise=noises[step]).prev_sample
    # Their alpha_bar is float32: 6e-5 relative by the end of the table (see above), over ten steps.
    assert torch.allclose(x.double(), ours, rtol=0, atol=6e-4)
