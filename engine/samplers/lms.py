"""LMS, the linear multistep method: Adams-Bashforth in the noise level, as k-diffusion's `sample_lms`.

The loop, in the symbols of P3 (sigma(t) = t), for order p:

    x_0 ~ N(0, t_0^2 I)
    for i in 0 .. N - 1:
        d_i     = (x_i - D(x_i; t_i)) / t_i                     # dx/dt
        q       = min(i + 1, p)                                 # at first there are fewer slopes
        c_j     = integral from t_i to t_{i+1} of
                  prod_{k < q, k != j} (t - t_{i-k}) / (t_{i-j} - t_{i-k}) dt
        x_{i+1} = x_i + sum_{j < q} c_j d_{i-j}                 # t_N = 0

Zhang and Chen 2023 call it rho-AB-DEIS:
it is also their exponential integrator with a polynomial in rho = sigma.
"""

from functools import lru_cache
from itertools import pairwise
from typing import Literal

from engine.samplers.adams_bashforth import lagrange_weights
from engine.samplers.base import Canonical
from engine.samplers.multistep import Update, WeightedSum, multistep_program
from engine.samplers.sigma_walk import SigmaGridSampler
from engine.samplers.steps import AnyStep


class Lms(SigmaGridSampler):
    """Linear multistep sampler: one evaluation a step, the last step too of full order [k-diffusion]."""

    kind: Literal["lms"] = "lms"
    solver_order: Literal[1, 2, 3, 4] = 4
    """Slopes that a step extrapolates; 1 is Euler's method. k-diffusion and diffusers take 4."""

    @property
    def evaluations(self) -> int:
        """Evaluations of x0_hat: N."""
        return self.num_steps

    @property
    def order(self) -> int:
        """Its slopes. The first steps have fewer, at noise levels where x0_hat hardly moves yet:
        that is not seen."""
        return self.solver_order

    @property
    def family(self) -> str:
        """The solver's name in figures."""
        return f"LMS-{self.solver_order}"

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        return f"LMS-{self.solver_order} {self.num_steps}{self.suffix}"

    def canonical(self) -> Canonical:
        """Noise levels and the slopes really used: N steps have no more than N."""
        grid, reasons = self.grid_form()
        used = min(self.solver_order, self.num_steps)
        if used < self.solver_order:
            reasons = (
                *reasons,
                f"num_steps {self.num_steps} gives no {self.solver_order} slopes: order {used}",
            )
        if used == 1:
            return self.guided(Canonical({"method": "euler", **grid}, (*reasons, "LMS of order 1 is Euler")))
        return self.guided(Canonical({"method": "lms", "solver_order": used, **grid}, reasons))

    def program(self) -> tuple[AnyStep, ...]:
        """Steps from sigma_max to 0, each along the polynomial through the latest slopes."""
        return multistep_program(self.sigmas, "slope", lms_updates(self.sigmas, self.solver_order))


@lru_cache(maxsize=512)
def lms_updates(sigmas: tuple[float, ...], solver_order: int) -> tuple[Update, ...]:
    """The weights of every step."""
    updates = []
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        used = min(i + 1, solver_order)
        latest_first = sigmas[i + 1 - used : i + 1][::-1]
        weights = lagrange_weights(latest_first, sigma, sigma_next, lambda level: 1.0)
        updates.append(Update(WeightedSum(1.0, weights)))
    return tuple(updates)
