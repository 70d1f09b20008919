"""The flow sampler: order on closed-form problems, exact ends, counted cost, an independent
implementation."""

import json
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.denoiser import Denoiser
from engine.evaluation.oracle import GaussianOracle, MixtureOracle
from engine.noise import Purpose, normal
from engine.posterior import Posterior
from engine.process.precond import Preconditioning
from engine.process.processes import FlowProcess
from engine.process.schedules import TERMINAL_SIGMA
from engine.samplers.base import SamplerBase
from engine.samplers.ddim import Ddim
from engine.samplers.euler import Euler
from engine.samplers.flow import Flow, path_at, velocity
from engine.samplers.heun import Heun
from engine.samplers.steps import DenoiseRequest, resume_step

GAUSSIAN = GaussianOracle(0.7)
MIXTURE = MixtureOracle(
    torch.tensor([[-1.0], [0.3], [1.2]], dtype=torch.float64),
    0.35,
    torch.tensor([0.4, 0.35, 0.25], dtype=torch.float64),
)
ORACLES = {"gaussian": GAUSSIAN, "mixture": MIXTURE}
METHODS = {"euler": 1, "heun": 2, "rk4": 4}
LATENTS = normal(0, Purpose.LATENT, torch.arange(64), (1,))


def no_noise(step: int) -> Tensor:
    raise AssertionError("a deterministic sampler asked for noise")


def measured_order(
    samplers: list[SamplerBase], oracle: GaussianOracle | MixtureOracle, sigma_max: float
) -> float:
    """Order from three runs, each of twice the steps: 2 slope(2N)
    - slope(N), without the 1 / N term of the slope."""
    exact = oracle.ode_endpoint(LATENTS * sigma_max, sigma_max)
    errors = [float((one.sample(oracle.denoise, LATENTS, no_noise) - exact).abs().mean()) for one in samplers]
    coarse, fine = (math.log2(a / b) for a, b in pairwise(errors))
    return 2 * fine - coarse


@pytest.mark.parametrize("data", ORACLES)
@pytest.mark.parametrize("path", ["linear", "vp"])
@pytest.mark.parametrize("method", METHODS)
def test_flow_has_the_order_of_its_method(method: Any, path: Any, data: str) -> None:
    # From pure noise to data, the last step of lower order included. The extrapolation leaves O(1 / N^2) of
    # the slope at N = 32, with constants up to 40 here (RK4 on the Gaussian).
    samplers: list[SamplerBase] = [Flow(num_steps=n, method=method, path=path) for n in (32, 64, 128)]
    order = measured_order(samplers, ORACLES[data], TERMINAL_SIGMA)
    assert order == pytest.approx(METHODS[method], abs=0.06)


@pytest.mark.parametrize(("kind", "order"), [(Euler, 1), (Heun, 2)])
def test_edm_solvers_keep_their_order_on_a_mixture(kind: type[Euler | Heun], order: int) -> None:
    # sigma_min = 1e-4 makes the last step's error, of order sigma_min^2, smaller than all that is measured.
    samplers: list[SamplerBase] = [kind(num_steps=n, sigma_min=1e-4) for n in (128, 256, 512)]
    assert measured_order(samplers, MIXTURE, 80.0) == pytest.approx(order, abs=0.02)


def test_unit_variance_data_stays_where_it_is_on_the_vp_path() -> None:
    # x_t keeps the law N(0, 1), so u = 0. The one error is TERMINAL_SIGMA
    # for infinity: at t = 1 x0_hat = 2^-27 x, and -pi / 2 times that is u;
    # Euler's single step takes all of it. 1.6 leaves rounding its place.
    for method in METHODS:
        x = Flow(num_steps=1, method=method, path="vp").sample(GaussianOracle(1.0).denoise, LATENTS, no_noise)
        assert torch.allclose(x, LATENTS, rtol=1.6 / TERMINAL_SIGMA, atol=0)


def test_the_ends_of_both_paths_are_exact() -> None:
    for path in ("linear", "vp"):
        assert path_at(path, 1.0)[:2] == (0.0, 1.0)
        assert path_at(path, 0.0)[:2] == (1.0, 0.0)


@pytest.mark.parametrize("path", ["linear", "vp"])
def test_velocity_is_that_of_the_process(path: Any) -> None:
    process, x0, eps = FlowProcess(path=path), LATENTS, LATENTS.flip(0)
    for t in (0.01, 0.3, 0.5, 0.9):
        sigma = process.sigma_at(torch.tensor(t, dtype=torch.float64))
        p, q = process.velocity(sigma)
        x_t = process.scale(sigma) * (x0 + sigma * eps)
        step = velocity(x_t, t, path)
        assert isinstance(resume_step(step), DenoiseRequest)
        u = resume_step(step, Posterior(x0))
        # Two ways to the same numbers of size 10 at most; eps_hat divides rounding by b >= 0.01.
        assert torch.allclose(u, p * x0 + q * eps, rtol=0, atol=1e-12)


def test_euler_lands_on_the_last_x0_hat() -> None:
    # On a straight path a step from t to 0 is x_t - t (x_t - x0_hat) / t.
    sampler, seen = Flow(num_steps=4), []

    def denoise(x: Tensor, sigma: float) -> Tensor:
        seen.append(GAUSSIAN.denoise(x, sigma))
        return seen[-1]

    x = sampler.sample(denoise, LATENTS, no_noise)
    assert torch.allclose(x, seen[-1], rtol=0, atol=1e-15)


def test_a_velocity_network_is_integrated_as_it_is() -> None:
    class Velocity(torch.nn.Module):
        def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None, augment: Tensor | None) -> Tensor:
            times.append(float(c_noise[0]) / 1000)
            return 0.5 * x + c_noise[:, None, None, None] / 1000

    times: list[float] = []
    latents = LATENTS[:8].reshape(8, 1, 1, 1)
    x, steps = latents, 5
    for i in range(steps):
        x = x - (0.5 * x + (1 - i / steps)) / steps
    denoiser = Denoiser(Velocity(), Preconditioning(FlowProcess(), "u"))
    ours = Flow(num_steps=steps).sample(denoiser, latents, no_noise)
    # The network works in float32: 6e-8 relative on numbers below 4, five times.
    assert torch.allclose(ours, x, rtol=0, atol=1e-6)
    assert times == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2], abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_declared_evaluations_are_the_counted_ones_and_none_is_at_zero_noise(method: Any, steps: int) -> None:
    levels: list[float] = []

    def counting(x: Tensor, sigma: float) -> Tensor:
        levels.append(sigma)
        return GAUSSIAN.denoise(x, sigma)

    sampler = Flow(num_steps=steps, method=method)
    assert torch.isfinite(sampler.sample(counting, LATENTS, no_noise)).all()
    assert (
        len(levels)
        == sampler.evaluations
        == {"euler": steps, "heun": 2 * steps - 1, "rk4": 4 * steps - 1}[method]
    )
    assert levels[0] == TERMINAL_SIGMA
    assert min(levels) > 0


@pytest.mark.parametrize("path", ["linear", "vp"])
def test_a_flow_that_starts_below_pure_noise_starts_as_edm_does(path: Any) -> None:
    levels, sampler = [], Flow(num_steps=64, method="rk4", path=path, sigma_max=80.0)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        levels.append(sigma)
        return MIXTURE.denoise(x, sigma)

    x = sampler.sample(denoise, LATENTS, no_noise)
    assert levels[0] == pytest.approx(80.0, rel=1e-12)
    # The same start and the same ODE as EDM's:
    # equal endpoints, up to RK4's error measured above at half the steps.
    assert torch.allclose(x, MIXTURE.ode_endpoint(LATENTS * 80.0, 80.0), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "solver",
    [
        lambda n: Flow(num_steps=n, method="rk4"),
        lambda n: Flow(num_steps=n, method="heun", path="vp"),
        lambda n: Heun(num_steps=n, sigma_max=1e4),
        lambda n: Ddim(num_steps=n, schedule="cosine"),
    ],
    ids=["flow rk4", "flow vp heun", "edm heun", "ddim"],
)
def test_all_solvers_of_the_ode_arrive_at_the_same_images(solver: Callable[[int], SamplerBase]) -> None:
    reference = MIXTURE.ode_endpoint(LATENTS * TERMINAL_SIGMA, TERMINAL_SIGMA)
    coarse, fine = (solver(n).sample(MIXTURE.denoise, LATENTS, no_noise) for n in (100, 200))
    # A method of order p leaves |coarse - fine| / (2^p - 1), at most the difference itself; 1.5 for the next
    # order. EDM and DDIM start at sigma 1e4 and 2e4, 1e-4 of a latent from pure noise.
    allowed = 1.5 * float((coarse - fine).abs().max()) + 1e-4 * float(LATENTS.abs().max())
    assert float((fine - reference).abs().max()) < allowed < 0.05


def form(sampler: SamplerBase) -> str:
    return json.dumps(sampler.canonical().form, sort_keys=True)


def test_canonical_forms_tell_flows_apart() -> None:
    assert form(Flow(num_steps=1, method="heun")) == form(Flow(num_steps=1, method="euler"))
    distinct = [
        Flow(num_steps=4, method=method, path=path) for method in METHODS for path in ("linear", "vp")
    ]
    distinct += [Flow(num_steps=5), Flow(num_steps=4, sigma_max=80.0), Flow(num_steps=4, sigma_max=20.0)]
    assert len({form(one) for one in distinct}) == len(distinct)
    assert len({one.label for one in distinct[:7]}) == 7


def test_mixture_oracle_is_the_average_over_the_posterior() -> None:
    # E[x0 | x] by the trapezium rule over x0, spectrally exact for such smooth, decaying integrands.
    grid = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    density = (
        MIXTURE.weights * torch.exp(-((grid[:, None] - MIXTURE.means[:, 0]) ** 2) / (2 * 0.35**2))
    ).sum(dim=1)
    for sigma in (0.1, 0.8, 5.0):
        likelihood = density * torch.exp(-((LATENTS - grid) ** 2) / (2 * sigma**2))
        mean = (likelihood * grid).sum(dim=1, keepdim=True) / likelihood.sum(dim=1, keepdim=True)
        assert torch.allclose(MIXTURE.denoise(LATENTS, sigma), mean, rtol=0, atol=1e-12)


def test_mixture_endpoint_of_one_component_is_the_gaussian_one_and_needs_one_dimension() -> None:
    single = MixtureOracle(torch.zeros(1, 1, dtype=torch.float64), 0.7, torch.ones(1, dtype=torch.float64))
    x = LATENTS * 3.0
    # The quantile is known to 1e-16 of 1: at |z| = 3 the density 0.004 turns that into 3e-14.
    assert torch.allclose(single.ode_endpoint(x, 3.0), GAUSSIAN.ode_endpoint(x, 3.0), rtol=0, atol=1e-12)
    plane = MixtureOracle(torch.zeros(1, 2, dtype=torch.float64), 0.7, torch.ones(1, dtype=torch.float64))
    with pytest.raises(ValueError, match="one dimension"):
        plane.ode_endpoint(x, 3.0)


def test_flow_euler_agrees_with_diffusers_step_by_step() -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    steps = 10
    scheduler.set_timesteps(sigmas=[1 - i / steps for i in range(steps)])
    states: list[Tensor] = []

    def recording(x: Tensor, sigma: float) -> Tensor:
        states.append(x / (1 + sigma))
        return MIXTURE.denoise(x, sigma)

    end = Flow(num_steps=steps).sample(recording, LATENTS, no_noise)
    x = LATENTS
    for timestep, expected in zip(scheduler.timesteps, [*states[1:], end], strict=True):
        t = float(timestep) / 1000
        sigma = min(t / (1 - t), TERMINAL_SIGMA) if t < 1 else TERMINAL_SIGMA
        x0_hat = MIXTURE.denoise(x * (sigma / t), sigma)
        x = scheduler.step((x - x0_hat) / t, timestep, x).prev_sample
        # They keep sigma and the state in float32: 6e-8 of numbers below 4 and of the steps, ten times.
        assert torch.allclose(x.double(), expected, rtol=0, atol=5e-6)


def test_edm_euler_agrees_with_diffusers_edm_scheduler() -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, rho=7.0)
    scheduler.set_timesteps(18)
    x = LATENTS * 80.0
    for timestep, sigma in zip(scheduler.timesteps, scheduler.sigmas[:-1].tolist(), strict=True):
        scheduler.scale_model_input(x, timestep)
        x0_hat = MIXTURE.denoise(x.double(), sigma)
        x = scheduler.step(x0_hat, timestep, x, pred_original_sample=x0_hat).prev_sample
    ours = Euler(num_steps=18).sample(MIXTURE.denoise, LATENTS, no_noise)
    # Their levels and state are float32; states of size 300 contract to 1, so 6e-8 relative, eighteen times,
    # and the levels' seventh power.
    assert torch.allclose(x.double(), ours, rtol=0, atol=2e-5)
