"""Each sampler against its paper's loop, written down
plainly here and calling nothing of the sampler's steps."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from engine.noise import Purpose, normal
from engine.posterior import Posterior
from engine.samplers.base import SamplerBase
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.samplers.edm_stochastic import EdmStochastic
from engine.samplers.euler import Euler
from engine.samplers.flow import Flow
from engine.samplers.heun import Heun

KEYS = torch.arange(6)
SHAPE = (1, 2, 3)
LATENTS = normal(3, Purpose.LATENT, KEYS, SHAPE)


def noise(step: int) -> Tensor:
    return normal(3, Purpose.SAMPLER_STEP, KEYS, SHAPE, step)


class Network:
    """Any smooth function of x and sigma does for D; it need not denoise well.
    Its x0_hat passes 1 in places, so that clipping acts."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return 1.5 * torch.tanh(x / (0.5 + sigma)) + 0.1 * torch.sin(3 * x / (1 + sigma))

    def posterior(self, x: Tensor, sigma: float) -> Posterior:
        return Posterior(self(x, sigma), range_fraction=torch.cos(x / (1 + sigma)))


D = Network()


def assert_same(sampler: SamplerBase, expected: Tensor) -> None:
    # The same sums in another order: float64 rounding, 2e-16 a step, grows
    # with the largest noise level (80, or 157 of a chain) and the steps.
    assert torch.allclose(sampler.sample(D, LATENTS, noise), expected, rtol=0, atol=1e-11)


def edm_levels(n: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> list[float]:
    """P3 Eq. 5."""
    t = [
        (sigma_max ** (1 / rho) + i / (n - 1) * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho
        for i in range(n)
    ]
    return [*t, 0.0]


def linear_alpha_bars(length: int = 1000) -> list[float]:
    """Ho et al.: beta from 1e-4 to 0.02."""
    alpha_bar = 1.0
    found = []
    for t in range(length):
        alpha_bar *= 1 - (1e-4 + (0.02 - 1e-4) * t / (length - 1))
        found.append(alpha_bar)
    return found


def eps_theta(x: Tensor, alpha_bar: float) -> Tensor:
    """The noise in x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps, of the same network D."""
    x0_hat = D(x / math.sqrt(alpha_bar), math.sqrt((1 - alpha_bar) / alpha_bar))
    return (x - math.sqrt(alpha_bar) * x0_hat) / math.sqrt(1 - alpha_bar)


def test_euler_is_the_first_half_of_edms_algorithm_1() -> None:
    n = 9
    t = edm_levels(n)
    x = t[0] * LATENTS
    for i in range(n):
        d = (x - D(x, t[i])) / t[i]
        x = x + (t[i + 1] - t[i]) * d
    assert_same(Euler(num_steps=n), x)


def test_heun_is_edms_algorithm_1() -> None:
    n = 9
    t = edm_levels(n, sigma_min=0.01, sigma_max=50.0, rho=5.0)
    x = t[0] * LATENTS
    for i in range(n):
        d = (x - D(x, t[i])) / t[i]
        x_next = x + (t[i + 1] - t[i]) * d
        if t[i + 1] != 0:
            d_prime = (x_next - D(x_next, t[i + 1])) / t[i + 1]
            x_next = x + (t[i + 1] - t[i]) * (d / 2 + d_prime / 2)
        x = x_next
    assert_same(Heun(num_steps=n, sigma_min=0.01, sigma_max=50.0, rho=5.0), x)


@pytest.mark.parametrize("s_churn", [0.0, 2.0, 40.0])
def test_edm_stochastic_is_edms_algorithm_2(s_churn: float) -> None:
    n, s_tmin, s_tmax, s_noise = 9, 0.05, 30.0, 1.007
    t = edm_levels(n)
    x = t[0] * LATENTS
    for i in range(n):
        gamma = min(s_churn / n, math.sqrt(2) - 1) if s_tmin <= t[i] <= s_tmax else 0.0
        eps = s_noise * noise(i)
        t_hat = t[i] + gamma * t[i]
        x_hat = x + math.sqrt(t_hat**2 - t[i] ** 2) * eps
        d = (x_hat - D(x_hat, t_hat)) / t_hat
        x = x_hat + (t[i + 1] - t_hat) * d
        if t[i + 1] != 0:
            d_prime = (x - D(x, t[i + 1])) / t[i + 1]
            x = x_hat + (t[i + 1] - t_hat) * (d / 2 + d_prime / 2)
    assert_same(EdmStochastic(num_steps=n, s_churn=s_churn, s_tmin=s_tmin, s_tmax=s_tmax, s_noise=s_noise), x)


@pytest.mark.parametrize(("eta", "noisy"), [(0.0, False), (0.3, False), (1.0, False), (1.0, True)])
def test_ddim_is_p2s_equation_12_with_the_deviations_of_equation_16(eta: float, noisy: bool) -> None:
    steps = 10
    alphas = linear_alpha_bars()
    tau = [math.floor(999 / (steps - 1) * i) for i in range(steps)]  # 0, 111, ..., 999
    x = LATENTS
    for number, i in enumerate(reversed(range(steps))):
        a = alphas[tau[i]]
        b = alphas[tau[i - 1]] if i > 0 else 1.0
        eps_hat = eps_theta(x, a)
        s = eta * math.sqrt((1 - b) / (1 - a)) * math.sqrt(1 - a / b)
        added = math.sqrt(1 - a / b) if noisy else s
        predicted_x0 = (x - math.sqrt(1 - a) * eps_hat) / math.sqrt(a)
        x = math.sqrt(b) * predicted_x0 + math.sqrt(1 - b - s**2) * eps_hat
        if i > 0:  # the last step ends in x0: its noise, of sigma-hat too, is left out
            x = x + added * noise(number)
    assert_same(Ddim(num_steps=steps, eta=eta, noisy=noisy), x)


def fixed_beta(beta: float, beta_tilde: float, v: Tensor) -> Tensor | float:
    return beta


def fixed_beta_tilde(beta: float, beta_tilde: float, v: Tensor) -> Tensor | float:
    return beta_tilde


def learned_range(beta: float, beta_tilde: float, v: Tensor) -> Tensor | float:
    share = (v + 1) / 2  # P1's code: the network's output in [-1, 1] is taken to [0, 1]
    return torch.exp(share * math.log(beta) + (1 - share) * math.log(beta_tilde))


@pytest.mark.parametrize(
    ("covariance", "variance"),
    [("beta", fixed_beta), ("beta_tilde", fixed_beta_tilde), ("learned_range", learned_range)],
)
@pytest.mark.parametrize("clip", [False, True])
def test_ddpm_is_p1s_posterior_with_respaced_betas(
    covariance: str, variance: Callable[[float, float, Tensor], Tensor | float], clip: bool
) -> None:
    steps = 10
    alpha_bars = linear_alpha_bars()
    visited = [math.floor(999 / (steps - 1) * i) for i in range(steps)]
    x = LATENTS
    for number, i in enumerate(reversed(range(steps))):
        ab = alpha_bars[visited[i]]
        ab_prev = alpha_bars[visited[i - 1]] if i > 0 else 1.0
        beta = 1 - ab / ab_prev  # Eq. 19
        beta_tilde = (1 - ab_prev) / (1 - ab) * beta  # Eq. 10
        x0_hat = (x - math.sqrt(1 - ab) * eps_theta(x, ab)) / math.sqrt(ab)
        if clip:
            x0_hat = x0_hat.clamp(-1, 1)
        mean = (  # Eq. 11
            math.sqrt(ab_prev) * beta / (1 - ab) * x0_hat + math.sqrt(1 - beta) * (1 - ab_prev) / (1 - ab) * x
        )
        if i > 0:
            unit = x / math.sqrt(ab)
            sigma = math.sqrt((1 - ab) / ab)
            v = D.posterior(unit, sigma).range_fraction
            assert v is not None
            x = mean + variance(beta, beta_tilde, v) ** 0.5 * noise(number)
        else:
            x = mean
    assert_same(Ddpm.model_validate({"num_steps": steps, "covariance": covariance, "clip_x0": clip}), x)


def flow_velocity(x: Tensor, t: float) -> Tensor:
    """u = eps_hat - x0_hat on the straight path x_t = (1 - t) x0 + t eps."""
    x0_hat = D(x / (1 - t), t / (1 - t))
    return (x - (1 - t) * x0_hat) / t - x0_hat


def test_flow_euler_steps_along_the_velocity() -> None:
    n = 7
    start = 4.0 / 5.0  # t at sigma = t / (1 - t) = 4
    x = start * LATENTS
    for i in range(n):
        t = start * (1 - i / n)
        x = x - start / n * flow_velocity(x, t)
    assert_same(Flow(num_steps=n, sigma_max=4.0), x)


def test_flow_heun_averages_two_slopes_and_ends_with_euler() -> None:
    n = 7
    start = 4.0 / 5.0
    h = -start / n
    x = start * LATENTS
    for i in range(n):
        t = start * (1 - i / n)
        k1 = flow_velocity(x, t)
        if i < n - 1:
            k2 = flow_velocity(x + h * k1, t + h)
            x = x + h * (k1 + k2) / 2
        else:
            x = x + h * k1
    assert_same(Flow(num_steps=n, method="heun", sigma_max=4.0), x)


def test_flow_rk4_is_the_classical_method_and_ends_with_ralstons() -> None:
    n = 7
    start = 4.0 / 5.0
    h = -start / n
    x = start * LATENTS
    for i in range(n):
        t = start * (1 - i / n)
        k1 = flow_velocity(x, t)
        k2 = flow_velocity(x + h / 2 * k1, t + h / 2)
        if i < n - 1:
            k3 = flow_velocity(x + h / 2 * k2, t + h / 2)
            k4 = flow_velocity(x + h * k3, t + h)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        else:  # Ralston 1962: never looks at t = 0, where u is 0 / 0
            k3 = flow_velocity(x + 3 / 4 * h * k2, t + 3 / 4 * h)
            x = x + h * (2 * k1 + 3 * k2 + 4 * k3) / 9
    assert_same(Flow(num_steps=n, method="rk4", sigma_max=4.0), x)
