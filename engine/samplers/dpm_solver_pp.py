"""DPM-Solver++ 2M, and its stochastic form 2M SDE.

The loop, in the symbols of Lu et al. 2022b (Alg. 2; lambda = -ln sigma, alpha = 1 in the coordinates x0
+ sigma eps), with k-diffusion's eta (`sample_dpmpp_2m`, `sample_dpmpp_2m_sde`): 0 is the ODE, 1 the SDE:

    x_0 ~ N(0, t_0^2 I)
    for i in 0 .. N - 1:
        D_i     = D(x_i; t_i)
        if t_{i+1} == 0: x_{i+1} = D_i; stop
        h_i     = ln t_i - ln t_{i+1}
        H_i     = (1 + eta) h_i
        x_{i+1} = t_{i+1} / t_i exp(-eta h_i) x_i + (1 - exp(-H_i)) D_i
        if i > 0:
            r       = h_{i-1} / h_i
            midpoint: x_{i+1} += (1 - exp(-H_i)) / 2 (D_i - D_{i-1}) / r
            heun:     x_{i+1} += (1 - (1 - exp(-H_i)) / H_i) (D_i - D_{i-1}) / r
        x_{i+1} += S_noise t_{i+1} sqrt(1 - exp(-2 eta h_i)) eps_i,   eps_i ~ N(0, I)

`midpoint` is Alg. 2; `heun` is the other choice for the derivative of D in both code bases and in diffusers.
"""

import math
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from pydantic import Field

from engine.samplers.base import Canonical
from engine.samplers.multistep import Update, WeightedSum, multistep_program
from engine.samplers.sigma_walk import SigmaGridSampler
from engine.samplers.steps import AnyStep

DerivativeName = Literal["midpoint", "heun"]


class DpmSolverPp(SigmaGridSampler):
    """Second-order multistep sampler on x0_hat: one evaluation a step, the first and last of first order."""

    kind: Literal["dpm_solver_pp"] = "dpm_solver_pp"
    eta: float = Field(default=0.0, ge=0)
    """Stochasticity: 0 is DPM-Solver++ 2M, 1 its SDE form; k-diffusion allows any in between and beyond."""
    s_noise: float = Field(default=1.0, gt=0)
    """Standard deviation of the added noise, relative to what theory asks for."""
    solver_type: DerivativeName = "midpoint"
    """How the change of x0_hat over the step is weighted.
    k-diffusion and diffusers take midpoint by default."""

    @property
    def evaluations(self) -> int:
        """Evaluations of x0_hat: N."""
        return self.num_steps

    @property
    def deterministic(self) -> bool:
        """Whether no step adds noise: at eta 0, and where the only step lands on x0_hat."""
        return self.eta == 0 or self.num_steps == 1

    @property
    def order(self) -> int | None:
        """2 at eta 0."""
        return 2 if self.eta == 0 else None

    @property
    def family(self) -> str:
        """The solver's name in figures."""
        return "DPM-Solver++ 2M" if self.deterministic else "DPM-Solver++ 2M SDE"

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        name = "DPM++ 2M SDE" if self.eta else "DPM++ 2M"
        eta = f" eta {self.eta:g}" if self.eta not in (0, 1) else ""
        noise = f" noise {self.s_noise:g}" if self.eta and self.s_noise != 1 else ""
        heun = " heun" if self.solver_type == "heun" else ""
        return f"{name} {self.num_steps}{eta}{noise}{heun}{self.suffix}"

    def canonical(self) -> Canonical:
        """Noise levels, noise, and how the derivative is
        taken where there is a step between first and last."""
        grid, reasons = self.grid_form()
        form = {"method": "dpm_solver_pp_2m", **grid}
        told = list(reasons)
        if self.num_steps <= 2:
            told.append("one or two steps are of first order: solver_type does nothing")
        else:
            form["solver_type"] = self.solver_type
        if not self.deterministic:
            form |= {"eta": self.eta, "s_noise": self.s_noise}
        elif self.s_noise != 1 or self.eta > 0:
            told.append("no step adds noise: eta and s_noise do nothing")
        if self.num_steps <= 2 and self.deterministic:
            form["method"] = "euler"
            told.append("without noise, one or two steps of DPM-Solver++ are Euler's")
        return self.guided(Canonical(form, tuple(told)))

    def program(self) -> tuple[AnyStep, ...]:
        """Steps from sigma_max to 0; the last one lands on x0_hat."""
        updates = dpm_solver_pp_updates(self.sigmas, self.eta, self.s_noise, self.solver_type)
        return multistep_program(self.sigmas, "x0_hat", updates)


@lru_cache(maxsize=512)
def dpm_solver_pp_updates(
    sigmas: tuple[float, ...], eta: float, s_noise: float, solver_type: DerivativeName
) -> tuple[Update, ...]:
    """Weights and noise of every step."""
    updates = []
    h_before = 0.0
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        if sigma_next == 0:
            updates.append(Update(WeightedSum(0.0, (1.0,))))
            continue
        h = math.log(sigma / sigma_next)
        full = -math.expm1(-(1 + eta) * h)
        x_weight = sigma_next / sigma * math.exp(-eta * h)
        weights: tuple[float, ...] = (full,)
        if i > 0:
            change = full / 2 if solver_type == "midpoint" else 1 - full / ((1 + eta) * h)
            change *= h / h_before
            weights = (full + change, -change)
        noise_std = s_noise * sigma_next * math.sqrt(-math.expm1(-2 * eta * h))
        updates.append(Update(WeightedSum(x_weight, weights), noise_std))
        h_before = h
    return tuple(updates)
