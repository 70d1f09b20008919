"""DEIS: an Adams-Bashforth method whose polynomial is in the logarithm of the noise level.

The loop, in the symbols of Zhang and Chen 2023 (rho = sigma, and eps_theta = (x - D) / rho), with the
polynomial in ln rho, for order p:

    x_0 ~ N(0, rho_0^2 I)
    for i in 0 .. N - 1:
        e_i     = (x_i - D(x_i; rho_i)) / rho_i                 # eps_theta
        q       = min(p, i + 1, N - i)                          # fewer at first, lower order at last
        C_j     = integral from rho_i to rho_{i+1} of
                  prod_{k < q, k != j} (ln rho - ln rho_{i-k}) / (ln rho_{i-j} - ln rho_{i-k}) drho
        x_{i+1} = x_i + sum_{j < q} C_j e_{i-j}                 # rho_N = 0

In the coordinates x0 + sigma eps the exponential integrator is a plain integral; diffusers calls this
choice of variable `logrho`. With the polynomial in rho itself, the paper's rho-AB-DEIS, it is LMS.
"""

import math
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from engine.samplers.adams_bashforth import lagrange_weights
from engine.samplers.base import Canonical
from engine.samplers.multistep import Update, WeightedSum, multistep_program, step_orders
from engine.samplers.sigma_walk import SigmaGridSampler
from engine.samplers.steps import AnyStep


class Deis(SigmaGridSampler):
    """Exponential integrator that extrapolates eps_hat in ln sigma:
    one evaluation a step, the last one Euler's."""

    kind: Literal["deis"] = "deis"
    solver_order: Literal[1, 2, 3] = 3
    """Noise predictions that a step extrapolates; 1 is Euler's method, which is DDIM."""

    @property
    def evaluations(self) -> int:
        """Evaluations of x0_hat: N."""
        return self.num_steps

    @property
    def order(self) -> int:
        """Its predictions. The first steps have fewer, where x0_hat hardly moves yet: that is not seen."""
        return self.solver_order

    @property
    def family(self) -> str:
        """The solver's name in figures."""
        return f"DEIS-{self.solver_order}"

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        return f"DEIS-{self.solver_order} {self.num_steps}{self.suffix}"

    def canonical(self) -> Canonical:
        """Noise levels and the highest order that any step has."""
        grid, reasons = self.grid_form()
        used = max(step_orders(self.num_steps, self.solver_order))
        if used < self.solver_order:
            reasons = (
                *reasons,
                f"num_steps {self.num_steps}, of order 1 first and last, reaches order {used}",
            )
        if used == 1:
            return self.guided(Canonical({"method": "euler", **grid}, (*reasons, "DEIS of order 1 is Euler")))
        return self.guided(Canonical({"method": "deis", "solver_order": used, **grid}, reasons))

    def program(self) -> tuple[AnyStep, ...]:
        """Steps from sigma_max to 0, each along the polynomial through the latest predictions."""
        return multistep_program(self.sigmas, "slope", deis_updates(self.sigmas, self.solver_order))


@lru_cache(maxsize=512)
def deis_updates(sigmas: tuple[float, ...], solver_order: int) -> tuple[Update, ...]:
    """The weights of every step."""
    updates = []
    orders = step_orders(len(sigmas) - 1, solver_order)
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        used = orders[i]
        if used == 1:
            updates.append(Update(WeightedSum(1.0, (sigma_next - sigma,))))
            continue
        latest_first = [math.log(level) for level in sigmas[i + 1 - used : i + 1][::-1]]
        # drho = exp(u) du with u = ln rho
        weights = lagrange_weights(latest_first, latest_first[0], math.log(sigma_next), math.exp)
        updates.append(Update(WeightedSum(1.0, weights)))
    return tuple(updates)
