"""What multistep solvers share: a step that is a weighted sum of x and of the latest evaluations.

LMS, DEIS, DPM-Solver++ and UniPC reuse what the network said at earlier noise levels, so that one evaluation
a step gives more than first order. They differ in their weights alone, which are numbers known beforehand. So
their steps are equal exactly where their weights and what they keep are, and a shared run does those once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from engine.samplers.euler import EulerStep
from engine.samplers.steps import AnyStep, DenoiseRequest, HistoryStep, NoiseFn, Scale, State, StateCoroutine

if TYPE_CHECKING:
    import torch

Evaluation = Literal["x0_hat", "slope"]
"""What is extrapolated: D(x, sigma), or (x - D(x, sigma)) / sigma, which is eps_hat and dx/dsigma at once."""


class WeightedSum(NamedTuple):
    """x_weight x + weights[0] v_0 + weights[1] v_1 + ..., v_0 being the latest evaluation."""

    x_weight: float
    weights: tuple[float, ...]

    def of(self, x: "torch.Tensor", latest_first: "Sequence[torch.Tensor]") -> "torch.Tensor":
        """The sum, of the shape of x; evaluations beyond its weights are not looked at."""
        total = self.x_weight * x
        for weight, value in zip(self.weights, latest_first[: len(self.weights)], strict=True):
            total = total + weight * value
        return total


@dataclass(frozen=True)
class MultistepStep(HistoryStep):
    """One evaluation at sigma, then a weighted sum of x, of it and of those before;
    noise, where there is any."""

    sigma: float
    evaluation: Evaluation
    """What is evaluated and kept: the history is the latest of it, newest first."""
    update: WeightedSum
    noise_std: float = 0.0
    number: int = 0
    """Number of the step, which keys its noise; 0 where it adds none."""

    def run_on(self, state: State, noise: NoiseFn) -> StateCoroutine:
        """x at the next noise level, with the `history_kept` latest evaluations."""
        posterior = yield DenoiseRequest(state.x, self.sigma)
        here = posterior.x0_hat
        if self.evaluation == "slope":
            here = (state.x - here) / self.sigma
        latest_first = (here, *state.history)
        x = self.update.of(state.x, latest_first)
        if self.noise_std > 0:
            x = x + self.noise_std * noise(self.number)
        return State(x, latest_first[: self.history_kept])


class Update(NamedTuple):
    """What a multistep method does between two noise levels."""

    total: WeightedSum
    noise_std: float = 0.0


def multistep_program(
    sigmas: Sequence[float], evaluation: Evaluation, updates: Sequence[Update]
) -> tuple[AnyStep, ...]:
    """Steps down `sigmas` (falling, the last 0), each with its update.

    A step that neither looks back, nor is looked back at, nor adds noise is Euler's:
    every method here is of first order then, and is written as Euler's so that it is shared with Euler's.
    """
    kept = histories_kept([len(update.total.weights) - 1 for update in updates])
    steps: list[AnyStep] = [Scale(sigmas[0])]
    for number, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        total, noise_std = updates[number]
        if len(total.weights) == 1 and kept[number] == 0 and noise_std == 0:
            steps.append(EulerStep(sigma, sigma_next))
            continue
        key = number if noise_std > 0 else 0
        steps.append(MultistepStep(kept[number], sigma, evaluation, total, noise_std, key))
    return tuple(steps)


def step_orders(num_steps: int, solver_order: int) -> list[int]:
    """Evaluations that each step looks at: fewer at first, where there are no more, and at last.

    The last step ends at sigma = 0, ln sigma = -infinity, where methods in
    ln sigma can only be of first order; the steps before it come down to
    that one by one, as the released UniPC and diffusers do at few steps.
    """
    return [min(solver_order, i + 1, num_steps - i) for i in range(num_steps)]


def histories_kept(looks_back: Sequence[int]) -> list[int]:
    """How many evaluations each step leaves, its own among them: what the steps after it look back at.

    `looks_back[i]` is the number of evaluations before its own that step i uses.
    """
    kept = [0] * len(looks_back)
    for i in reversed(range(len(looks_back) - 1)):
        # Step i + 1 adds its own evaluation to what it was left, and leaves kept[i + 1] of them.
        kept[i] = max(looks_back[i + 1], kept[i + 1] - 1)
    return kept
