"""UniPC: each evaluation first corrects the step that led to it, then predicts the next.

The loop, in the symbols of Zhao et al. 2023 (multistep, predicting x0, B(h) version; lambda = -ln
sigma, alpha = 1 in the coordinates x0 + sigma eps), for order p and h_i = ln t_i - ln t_{i+1}:

    x_0 ~ N(0, t_0^2 I)
    for i in 0 .. N - 1:
        D_i     = D(x_i; t_i)                                   # the only evaluation of the step
        if t_{i+1} == 0: x_{i+1} = D_i; stop
        xc_i    = x_i if i == 0 else                            # UniC: corrects with D_i, of order p_{i-1}
                  t_i / t_{i-1} xc_{i-1} + (1 - e^-h) D_{i-1} - B(h) (sum_k a_k Dk / r_k + a_p (D_i - D_{i-1}))
        p_i     = min(p, i + 1, N - i)                          # fewer evaluations at first, lower order at last
        x_{i+1} = t_{i+1} / t_i xc_i + (1 - e^-h) D_i - B(h) sum_k a_k Dk / r_k      # UniP, of order p_i
    where, looking back from the level t_s that is left, Dk = D_{s-k} - D_s and r_k = (ln t_s - ln t_{s-k}) / h

    B(h)  = -h (bh1) or e^-h - 1 (bh2);   a solves, with z = -h and r_p = 1,
            sum_k r_k^{n-1} a_k = n! z phi_{n+1}(z) / B(h), n = 1, 2, ...;  a = 1/2 where there is only one a

D_i is evaluated before the correction and used after it too, so that correcting costs nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from engine.samplers.base import Canonical
from engine.samplers.euler import EulerStep
from engine.samplers.multistep import WeightedSum, step_orders
from engine.samplers.sigma_walk import SigmaGridSampler
from engine.samplers.steps import AnyStep, DenoiseRequest, HistoryStep, NoiseFn, Scale, State, StateCoroutine

VariantName = Literal["bh1", "bh2"]


@dataclass(frozen=True)
class UniPcStep(HistoryStep):
    """Evaluate, correct the step before, predict the next. The history is xc, then x0_hat's, newest first."""

    sigma: float
    corrector: WeightedSum | None
    """Of the corrected x before, and of x0_hat here and before; None on the first step."""
    predictor: WeightedSum
    """Of the corrected x here, and of x0_hat here and before."""

    def run_on(self, state: State, noise: NoiseFn) -> StateCoroutine:
        """The predicted x at the next noise level, with the
        corrected one here and what has been evaluated."""
        posterior = yield DenoiseRequest(state.x, self.sigma)
        latest_first = (posterior.x0_hat, *state.history[1:])
        corrected = state.x
        if self.corrector is not None:
            corrected = self.corrector.of(state.history[0], latest_first)
        x = self.predictor.of(corrected, latest_first)
        return State(x, (corrected, *latest_first)[: self.history_kept])


class UniPc(SigmaGridSampler):
    """Multistep predictor-corrector on x0_hat: one evaluation a step, the last one Euler's."""

    kind: Literal["unipc"] = "unipc"
    solver_order: Literal[1, 2, 3] = 2
    """Evaluations that a predictor looks at; its corrector looks at one more.
    diffusers advises 3 without guidance, 2 with it."""
    variant: VariantName = "bh2"
    """B(h): bh1 is h, which diffusers advises without guidance below 10 steps, bh2 is e^h - 1."""

    @property
    def evaluations(self) -> int:
        """Evaluations of x0_hat: N."""
        return self.num_steps

    @property
    def order(self) -> int:
        """One more than the predictor's, as the corrector has it."""
        return self.solver_order + 1

    @property
    def family(self) -> str:
        """The solver's name in figures."""
        return f"UniPC-{self.solver_order} {self.variant}"

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        return f"UniPC-{self.solver_order} {self.num_steps} {self.variant}{self.suffix}"

    def canonical(self) -> Canonical:
        """Noise levels, B(h), and the highest order that any step has."""
        grid, reasons = self.grid_form()
        if self.num_steps <= 2:
            reasons = (*reasons, "one or two steps of UniPC are Euler's: there is nothing to correct")
            return self.guided(Canonical({"method": "euler", **grid}, reasons))
        used = max(step_orders(self.num_steps, self.solver_order))
        if used < self.solver_order:
            reasons = (
                *reasons,
                f"num_steps {self.num_steps}, of order 1 first and last, reaches order {used}",
            )
        form = {"method": "unipc", "solver_order": used, "variant": self.variant, **grid}
        return self.guided(Canonical(form, reasons))

    def program(self) -> tuple[AnyStep, ...]:
        """Steps from sigma_max to 0; the last one lands on x0_hat."""
        return unipc_program(self.sigmas, self.solver_order, self.variant)


@lru_cache(maxsize=512)
def unipc_program(sigmas: tuple[float, ...], solver_order: int, variant: VariantName) -> tuple[AnyStep, ...]:
    """Steps down `sigmas`, which fall to 0."""
    last = len(sigmas) - 2
    orders = step_orders(last + 1, solver_order)
    steps: list[AnyStep] = [Scale(sigmas[0])]
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        # The step after this one corrects with as many evaluations as this one predicts with; one after the
        # last correction needs nothing, and an older evaluation is never needed again by a step further on.
        kept = 1 + orders[i] if i + 1 < last else 0
        if kept == 0 and i in (0, last):
            steps.append(EulerStep(sigma, sigma_next))
            continue
        corrector = None
        if i > 0:
            corrector = corrector_sum(sigmas[:i], sigma, orders[i - 1], variant)
        predictor = predictor_sum(sigmas[: i + 1], sigma_next, orders[i], variant)
        steps.append(UniPcStep(kept, sigma, corrector, predictor))
    return tuple(steps)


def predictor_sum(
    levels: Sequence[float], target: float, solver_order: int, variant: VariantName
) -> WeightedSum:
    """UniP: from the last of `levels` to `target`, of x there and of x0_hat there and before."""
    h, ratios = _looking_back(levels, target, solver_order)
    shares = [0.5] if solver_order == 2 else _solve(ratios, h, variant)
    return _weighted_sum(levels[-1], target, ratios, shares, variant)


def corrector_sum(
    levels: Sequence[float], target: float, solver_order: int, variant: VariantName
) -> WeightedSum:
    """UniC: from the last of `levels` to `target`, of x there and of x0_hat at `target`, there and before."""
    h, ratios = _looking_back(levels, target, solver_order)
    shares = [0.5] if solver_order == 1 else _solve([*ratios, 1.0], h, variant)
    x_weight, weights = _weighted_sum(levels[-1], target, ratios, shares[:-1], variant)
    at_target = -_b(h, variant) * shares[-1]
    return WeightedSum(x_weight, (at_target, weights[0] - at_target, *weights[1:]))


def _looking_back(levels: Sequence[float], target: float, solver_order: int) -> tuple[float, list[float]]:
    """h, and r_k of the levels before the last: negative, as they lie behind."""
    start = levels[-1]
    h = math.log(start / target)
    return h, [math.log(start / levels[-1 - k]) / h for k in range(1, solver_order)]


def _weighted_sum(
    start: float, target: float, ratios: Sequence[float], shares: Sequence[float], variant: VariantName
) -> WeightedSum:
    """target / start x + (1 - e^-h) D - B(h) sum_k shares_k (D_k - D) / r_k."""
    h = math.log(start / target)
    of_change = [-_b(h, variant) * share / ratio for share, ratio in zip(shares, ratios, strict=True)]
    return WeightedSum(target / start, (-math.expm1(-h) - sum(of_change), *of_change))


def _b(h: float, variant: VariantName) -> float:
    return -h if variant == "bh1" else math.expm1(-h)


def _solve(ratios: Sequence[float], h: float, variant: VariantName) -> list[float]:
    """a of sum_k ratios_k^{n-1} a_k = n! z phi_{n+1}(z) / B(h), n = 1 .. len(ratios), z = -h."""
    if not ratios:
        return []
    import numpy as np

    powers = range(len(ratios))
    matrix = [[ratio**power for ratio in ratios] for power in powers]
    right = [math.factorial(n + 1) * -h * phi(n + 2, -h) / _b(h, variant) for n in powers]
    shares: list[float] = np.linalg.solve(matrix, right).tolist()
    return shares


def phi(k: int, z: float) -> float:
    """phi_0 = e^z, phi_k = (phi_{k-1} - 1 / (k-1)!) / z; near 0 its series, where that difference cancels."""
    if abs(z) < 1:
        return math.fsum(z**n / math.factorial(n + k) for n in range(20))
    value = math.exp(z)
    for n in range(k):
        value = (value - 1 / math.factorial(n)) / z
    return value
