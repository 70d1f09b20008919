"""Multistep solvers and DPM-2 against their papers' loops, written down plainly in the papers' own terms."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor

from engine.noise import Purpose, normal
from engine.samplers.base import SamplerBase
from engine.samplers.deis import Deis
from engine.samplers.dpm2 import Dpm2
from engine.samplers.dpm_solver_pp import DpmSolverPp
from engine.samplers.lms import Lms
from engine.samplers.multistep import histories_kept
from engine.samplers.unipc import UniPc, phi

KEYS = torch.arange(6)
SHAPE = (1, 2, 3)
LATENTS = normal(3, Purpose.LATENT, KEYS, SHAPE)


def noise(step: int) -> Tensor:
    return normal(3, Purpose.SAMPLER_STEP, KEYS, SHAPE, step)


def D(x: Tensor, sigma: float) -> Tensor:
    """Any smooth function of x and sigma does for the denoiser; it need not denoise well."""
    return 1.5 * torch.tanh(x / (0.5 + sigma)) + 0.1 * torch.sin(3 * x / (1 + sigma))


def edm_levels(n: int) -> list[float]:
    """P3 Eq. 5 at 0.002 .. 80, rho 7."""
    high, low = 80.0 ** (1 / 7), 0.002 ** (1 / 7)
    return [*((high + i / (n - 1) * (low - high)) ** 7 for i in range(n)), 0.0]


def assert_same(sampler: SamplerBase, expected: Tensor) -> None:
    # The same sums in another order: float64 rounding, 2e-16 a step, at noise levels of 80; weights are
    # known to 1e-13 where solutions of small systems and quotients of small differences go into them.
    assert torch.allclose(sampler.sample(D, LATENTS, noise), expected, rtol=0, atol=1e-10)


def test_dpm_2_is_the_midpoint_method_in_log_sigma() -> None:
    t = edm_levels(9)
    x = t[0] * LATENTS
    for i in range(9):
        d = (x - D(x, t[i])) / t[i]
        if t[i + 1] == 0:
            x = x + (t[i + 1] - t[i]) * d
            continue
        middle = math.exp((math.log(t[i]) + math.log(t[i + 1])) / 2)
        x_2 = x + d * (middle - t[i])
        d_2 = (x_2 - D(x_2, middle)) / middle
        x = x + d_2 * (t[i + 1] - t[i])
    assert_same(Dpm2(num_steps=9), x)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_lms_integrates_the_polynomial_through_the_latest_slopes(order: int) -> None:
    t = edm_levels(9)
    x = t[0] * LATENTS
    slopes: list[Tensor] = []
    for i in range(9):
        slopes.append((x - D(x, t[i])) / t[i])
        used = min(i + 1, order)
        step = torch.zeros_like(x)
        for j in range(used):
            basis = np.polynomial.Polynomial([1.0])
            for k in range(used):
                if k != j:
                    basis *= np.polynomial.Polynomial([-t[i - k], 1.0]) / (t[i - j] - t[i - k])
            primitive = basis.integ()
            step = step + (primitive(t[i + 1]) - primitive(t[i])) * slopes[i - j]
        x = x + step
    assert_same(Lms(num_steps=9, solver_order=order), x)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_deis_integrates_the_polynomial_in_log_rho(order: int) -> None:
    rho = edm_levels(9)
    x = rho[0] * LATENTS
    eps: list[Tensor] = []
    for i in range(9):
        eps.append((x - D(x, rho[i])) / rho[i])
        used = min(order, i + 1, 9 - i)
        for j in range(used):

            def basis(r: float, i: int = i, j: int = j, used: int = used) -> float:
                value = 1.0
                for k in range(used):
                    if k != j:
                        value *= math.log(r / rho[i - k]) / math.log(rho[i - j] / rho[i - k])
                return value

            x = x + quad(basis, rho[i], rho[i + 1], epsabs=1e-14, epsrel=1e-13)[0] * eps[i - j]
    assert_same(Deis(num_steps=9, solver_order=order), x)


def test_dpm_solver_pp_2m_is_algorithm_2() -> None:
    n = 9
    sigma = edm_levels(n)
    lam = [-math.log(level) for level in sigma[:-1]]
    x = sigma[0] * LATENTS
    outputs = [D(x, sigma[0])]
    # Lines 2 and 3: the first step, of first order.
    h = lam[1] - lam[0]
    x = sigma[1] / sigma[0] * x - (math.exp(-h) - 1) * outputs[0]
    for i in range(2, n):
        outputs.append(D(x, sigma[i - 1]))
        h_before, h = h, lam[i] - lam[i - 1]
        r = h_before / h
        mixed = (1 + 1 / (2 * r)) * outputs[-1] - 1 / (2 * r) * outputs[-2]
        x = sigma[i] / sigma[i - 1] * x - (math.exp(-h) - 1) * mixed
    assert_same(DpmSolverPp(num_steps=n), D(x, sigma[n - 1]))


@pytest.mark.parametrize("solver_type", ["midpoint", "heun"])
@pytest.mark.parametrize(("eta", "s_noise"), [(1.0, 1.0), (0.4, 1.02), (0.0, 1.3)])
def test_dpm_solver_pp_2m_sde_is_k_diffusions_loop(eta: float, s_noise: float, solver_type: str) -> None:
    n = 9
    sigmas = edm_levels(n)
    x = sigmas[0] * LATENTS
    old_denoised, h_last = None, 0.0
    for i in range(n):
        denoised = D(x, sigmas[i])
        if sigmas[i + 1] == 0:
            x = denoised
            break
        t, s = -math.log(sigmas[i]), -math.log(sigmas[i + 1])
        h = s - t
        eta_h = eta * h
        x = sigmas[i + 1] / sigmas[i] * math.exp(-eta_h) * x + -math.expm1(-h - eta_h) * denoised
        if old_denoised is not None:
            r = h_last / h
            if solver_type == "heun":
                x = x + (-math.expm1(-h - eta_h) / (-h - eta_h) + 1) * (1 / r) * (denoised - old_denoised)
            else:
                x = x + 0.5 * -math.expm1(-h - eta_h) * (1 / r) * (denoised - old_denoised)
        if eta:
            x = x + noise(i) * sigmas[i + 1] * math.sqrt(-math.expm1(-2 * eta_h)) * s_noise
        old_denoised, h_last = denoised, h
    settings = {"num_steps": n, "eta": eta, "s_noise": s_noise, "solver_type": solver_type}
    assert_same(DpmSolverPp.model_validate(settings), x)


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc_is_the_papers_predictor_and_corrector(order: int, variant: str) -> None:
    n = 9
    sigma = edm_levels(n)

    def bh_update(
        x: Tensor, start: int, target: int, used: int, outputs: list[Tensor], corrects: bool
    ) -> Tensor:
        """Their multistep_uni_pc_bh_update with alpha = 1: of order `used` from level `start` to `target`."""
        h = math.log(sigma[start] / sigma[target])
        hh = -h
        rks = [math.log(sigma[start] / sigma[start - k]) / h for k in range(1, used)]
        differences = [(outputs[start - k] - outputs[start]) / r for k, r in enumerate(rks, start=1)]
        b_h = hh if variant == "bh1" else math.exp(hh) - 1
        rks = [*rks, 1.0]
        right = []
        h_phi_k = (math.exp(hh) - 1) / hh - 1
        factorial = 1
        for k in range(1, used + 1):
            right.append(h_phi_k * factorial / b_h)
            factorial *= k + 1
            h_phi_k = h_phi_k / hh - 1 / factorial
        matrix = np.array([np.array(rks) ** k for k in range(used)])
        x_next = sigma[target] / sigma[start] * x - (math.exp(hh) - 1) * outputs[start]
        if corrects:
            rhos = np.array([0.5]) if used == 1 else np.linalg.solve(matrix, np.array(right))
            differences.append(outputs[target] - outputs[start])
        elif used == 2:
            rhos = np.array([0.5])
        else:
            rhos = np.linalg.solve(matrix[:-1, :-1], np.array(right[:-1])) if used > 1 else np.array([])
        for rho, difference in zip(rhos, differences, strict=True):
            x_next = x_next - b_h * float(rho) * difference
        return x_next

    x = sigma[0] * LATENTS
    corrected, orders, outputs = x, [0] * n, list[Tensor]()
    for i in range(n):
        outputs.append(D(x, sigma[i]))
        if i == n - 1:
            x = outputs[i]
            break
        if i > 0:
            corrected = bh_update(corrected, i - 1, i, orders[i - 1], outputs, corrects=True)
        orders[i] = min(order, i + 1, n - i)
        x = bh_update(corrected, i, i + 1, orders[i], outputs, corrects=False)
    assert_same(UniPc.model_validate({"num_steps": n, "solver_order": order, "variant": variant}), x)


def test_phi_functions_are_their_integrals_on_both_sides_of_where_the_series_is_used() -> None:
    for k in (1, 2, 3, 4):
        for z in (-9.0, -1.001, -0.999, -1e-3, 0.0, 0.5):
            # phi_k(z) = integral from 0 to 1 of e^{(1 - u) z} u^{k-1} / (k-1)! du
            integral, _ = quad(
                lambda u, z=z, k=k: math.exp((1 - u) * z) * u ** (k - 1) / math.factorial(k - 1), 0, 1
            )
            assert phi(k, z) == pytest.approx(integral, rel=1e-12)


def test_a_step_keeps_what_the_steps_after_it_look_back_at() -> None:
    assert histories_kept([0]) == [0]
    assert histories_kept([0, 1, 1, 0]) == [1, 1, 0, 0]
    assert histories_kept([0, 1, 2, 3]) == [1, 2, 3, 0]
    assert histories_kept([0, 0, 2, 0]) == [1, 2, 0, 0]
    assert histories_kept([0, 0, 0]) == [0, 0, 0]
