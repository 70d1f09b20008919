"""Few-step solvers against diffusers' schedulers on the same noise levels: EDM's, and those of a chain.

Their schedulers of chains work in x_t = sqrt(alpha_bar) (x0 + sigma eps), where states are smaller by
sqrt(1 + sigma^2) than ours; the solvers are the same. All is compared in float64, whole runs and every state.
"""

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.evaluation.oracle import MixtureOracle
from engine.noise import Purpose, normal
from engine.process.schedules import alpha_bars
from engine.samplers.base import SamplerBase
from engine.samplers.deis import Deis
from engine.samplers.dpm2 import Dpm2
from engine.samplers.dpm_solver_pp import DpmSolverPp
from engine.samplers.lms import Lms
from engine.samplers.sigma_grid import sigma_grid
from engine.samplers.sigma_walk import SigmaGridSampler
from engine.samplers.unipc import UniPc

diffusers = pytest.importorskip("diffusers")

STEPS = 10
CHAIN = [math.sqrt(1 / alpha_bars("linear", 1000)[t] - 1) for t in range(999, -1, -111)]
LEVELS = {"edm": sigma_grid(STEPS, 0.002, 80.0, 7.0), "chain": (*CHAIN, 0.0)}
LATENTS = normal(0, Purpose.LATENT, torch.arange(16), (1, 4, 4))
DATA = MixtureOracle(torch.stack([torch.full((1, 4, 4), -1.0), torch.full((1, 4, 4), 0.8)]).double(), 0.4,
                     torch.tensor([0.3, 0.7], dtype=torch.float64))  # fmt: skip


@pytest.fixture(params=LEVELS)
def levels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[float, ...]:
    """Noise levels that all samplers on a grid walk in this test."""
    chosen = LEVELS[request.param]
    monkeypatch.setattr(SigmaGridSampler, "sigmas", property(lambda sampler: chosen))
    return chosen


@pytest.fixture
def in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """DPMSolverMultistepScheduler takes every state to float32; here it stays float64."""
    module = diffusers.schedulers.scheduling_dpmsolver_multistep
    monkeypatch.setattr(module, "torch", SimpleNamespace(**{**vars(torch), "float32": torch.float64}))


def step_noise(step: int) -> Tensor:
    return torch.randn(LATENTS.shape, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


def our_states(sampler: SamplerBase) -> list[Tensor]:
    """x at every evaluation, and the images."""
    states: list[Tensor] = []

    def listening(x: Tensor, sigma: float) -> Tensor:
        states.append(x)
        return DATA.denoise(x, sigma)

    images = sampler.sample(listening, LATENTS, step_noise)
    return [*states, images]


def prepared(scheduler: Any, levels: tuple[float, ...]) -> Any:
    scheduler.set_timesteps(STEPS)
    scheduler.sigmas = torch.tensor(levels, dtype=torch.float64)
    scheduler.timesteps = torch.arange(STEPS)
    scheduler.set_begin_index(0)
    return scheduler


def chain_states(scheduler: Any, levels: tuple[float, ...], **options: Any) -> Iterator[Tensor]:
    """The states of a scheduler of chains that predicts x0, in our coordinates."""
    prepared(scheduler, levels)
    x = levels[0] * LATENTS
    for step, sigma in enumerate(levels[:-1]):
        yield x
        scale = math.sqrt(1 + sigma**2)
        scale_next = math.sqrt(1 + levels[step + 1] ** 2)
        settings = {name: value(step) for name, value in options.items()}
        found = scheduler.step(DATA.denoise(x, sigma), scheduler.timesteps[step], x / scale, **settings)
        x = found.prev_sample * scale_next
    yield x


def assert_same_states(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for state, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        # Float64 rounding, 2e-16 of states up to 300 and of what cancels in weights, over ten steps.
        assert torch.allclose(one, other, rtol=0, atol=2e-11), (state, float((one - other).abs().max()))


@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_dpm_solver_pp_is_their_multistep_scheduler(
    eta: float, solver_type: Any, levels: tuple[float, ...], in_float64: None
) -> None:
    algorithm = "sde-dpmsolver++" if eta else "dpmsolver++"
    scheduler = diffusers.DPMSolverMultistepScheduler(
        prediction_type="sample",
        solver_order=2,
        algorithm_type=algorithm,
        solver_type=solver_type,
        final_sigmas_type="zero",
    )
    theirs = list(chain_states(scheduler, levels, variance_noise=step_noise))
    assert_same_states(our_states(DpmSolverPp(num_steps=STEPS, eta=eta, solver_type=solver_type)), theirs)


@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_dpm_solver_pp_is_their_scheduler_for_edm(
    eta: float, solver_type: Any, levels: tuple[float, ...]
) -> None:
    algorithm = "sde-dpmsolver++" if eta else "dpmsolver++"
    scheduler = prepared(
        diffusers.EDMDPMSolverMultistepScheduler(algorithm_type=algorithm, solver_type=solver_type), levels
    )
    theirs = [levels[0] * LATENTS]
    for step, sigma in enumerate(levels[:-1]):
        x = theirs[-1]
        # They precondition themselves: from the network's output c_skip x + c_out F = D [P3 Table 1].
        c_skip, c_out = 0.25 / (sigma**2 + 0.25), 0.5 * sigma / math.sqrt(sigma**2 + 0.25)
        output = (DATA.denoise(x, sigma) - c_skip * x) / c_out
        generator = torch.Generator().manual_seed(step)
        theirs.append(scheduler.step(output, scheduler.timesteps[step], x, generator=generator).prev_sample)
    assert_same_states(our_states(DpmSolverPp(num_steps=STEPS, eta=eta, solver_type=solver_type)), theirs)


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc_is_their_multistep_scheduler(order: Any, variant: Any, levels: tuple[float, ...]) -> None:
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="sample",
        solver_order=order,
        solver_type=variant,
        predict_x0=True,
        lower_order_final=True,
        final_sigmas_type="zero",
    )
    *theirs, images = chain_states(scheduler, levels)
    *ours, ours_at_last = our_states(UniPc(num_steps=STEPS, solver_order=order, variant=variant))
    assert_same_states(ours, theirs)
    if variant == "bh1":
        assert images.isnan().all()  # their B(h) = h is infinite on the step to 0, and they multiply it by 0
    else:
        assert_same_states([ours_at_last], [images])


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
@pytest.mark.parametrize("order", [1, 2, 3])
def test_deis_is_their_multistep_scheduler(order: Any, levels: tuple[float, ...]) -> None:
    scheduler = diffusers.DEISMultistepScheduler(
        prediction_type="sample", solver_order=order, solver_type="logrho", lower_order_final=True
    )
    *theirs, images = chain_states(scheduler, levels)
    *ours, ours_at_last = our_states(Deis(num_steps=STEPS, solver_order=order))
    assert_same_states(ours, theirs)
    assert images.isnan().all()  # 0 (e^h - 1) with h infinite; they end at the smallest noise level instead
    assert_same_states([ours_at_last], [DATA.denoise(ours[-1], levels[-2])])


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_lms_is_their_scheduler(order: Any, levels: tuple[float, ...]) -> None:
    scheduler = prepared(diffusers.LMSDiscreteScheduler(prediction_type="sample"), levels)
    theirs = [levels[0] * LATENTS]
    for step, sigma in enumerate(levels[:-1]):
        x = theirs[-1]
        scheduler.scale_model_input(x, scheduler.timesteps[step])
        output = DATA.denoise(x, sigma)
        theirs.append(scheduler.step(output, scheduler.timesteps[step], x, order=order).prev_sample)
    assert_same_states(our_states(Lms(num_steps=STEPS, solver_order=order)), theirs)


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
def test_dpm_2_is_their_k_dpm_2_scheduler(levels: tuple[float, ...]) -> None:
    scheduler = prepared(diffusers.KDPM2DiscreteScheduler(prediction_type="epsilon"), levels)
    sigmas = scheduler.sigmas
    between = sigmas.log().lerp(sigmas.roll(1).log(), 0.5).exp()
    # As their set_timesteps has it: each level twice, once for each evaluation.
    scheduler.sigmas = torch.cat([sigmas[:1], sigmas[1:].repeat_interleave(2), sigmas[-1:]])
    scheduler.sigmas_interpol = torch.cat([between[:1], between[1:].repeat_interleave(2), between[-1:]])
    scheduler.timesteps = torch.arange(2 * STEPS - 1)
    theirs = [levels[0] * LATENTS]
    for timestep in scheduler.timesteps:
        x = theirs[-1]
        first = scheduler.state_in_first_order
        sigma = float(scheduler.sigmas[timestep] if first else scheduler.sigmas_interpol[timestep])
        eps_hat = (x - DATA.denoise(x, sigma)) / sigma
        theirs.append(scheduler.step(eps_hat, timestep, x).prev_sample)
    assert_same_states(our_states(Dpm2(num_steps=STEPS)), theirs)
