"""The least loss any denoiser can reach on a finite data set,
and estimators of it [Xu et al. 2025, arXiv 2506.13763].

At x = x0 + sigma eps the best guess of x0 is the posterior mean D*(x), so the optimum in the space of x0 is
J*(sigma) = E tr Cov[x0 | x] = E|x0|^2 - E|D*(x)|^2, here divided by the number of dimensions. It is 0 at low
noise, where x tells its point, and the variance of the data at high noise. The optimum of another target is
J* / c_out^2, and that of a design's weighted loss weighting(sigma, c_out) J*.

`full` looks at all points and has no bias. The others look at L of them, drawn at random, in |x0|^2 -
|D(x)|^2, both terms from the same draw: the error of one alone would swamp the difference. `snis`,
self-normalised importance sampling, takes the L points as they are: too high where noise is low, because most
subsets lack the source, the point x came from, and too low where it is high, because the noise of D adds to
|D|^2. `dol` forces the source into the subset: too low, because it explains x too well. `cdol` forces it in
with its kernel weighted 1/C, C = 4 N / L: the best of the three.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from engine.metrics.posterior import Draws, draw_batches, log_kernels, own_points, posterior, weighted_sum
from engine.noise import Purpose, uniforms

DRAWS_PER_SUBSET = 64
"""Draws that share a random subset, so that their kernels are one matrix product."""

EstimatorName = Literal["full", "snis", "dol", "cdol"]

SOURCE_WEIGHTS: dict[EstimatorName, Callable[[float], float]] = {
    "snis": lambda share: 0.0,
    "dol": lambda share: 1.0,
    "cdol": lambda share: share / 4,
}
"""What the source's kernel is multiplied by, of the share L / N of the points in the subset;
0: it is not forced in."""


@dataclass(frozen=True)
class LevelLoss:
    """The optimal loss at one noise level, per dimension."""

    sigma: float
    value: float
    stderr: float
    """Standard error of the value."""
    bias_bound: float | None
    """SNIS's (2 / L) E[w^2] / E[w]^2 for kernels w, else None: no coordinate of
    D(x) is biased by more than this times the largest of the data. It is
    estimated on the subsets themselves, so it is too kind where they all miss."""


@torch.no_grad()
def optimal_loss(
    points: Tensor,
    sigmas: Sequence[float],
    *,
    num_draws: int,
    seed: int,
    labels: Tensor | None = None,
    estimator: EstimatorName = "full",
    subset_size: int = 1000,
) -> tuple[LevelLoss, ...]:
    """J* of the data set [N, ...] at each noise level, from `num_draws` draws each.

    With `labels` [N] it is the optimum of a class-conditional network.
    `subset_size` is L; where it covers all points, or all of the class's, they
    are used as they are. Raises ValueError where a standard error cannot be had.
    """
    shared = 1 if estimator == "full" else DRAWS_PER_SUBSET
    if num_draws <= shared:
        raise ValueError(f"{estimator} needs more than {shared} draws for a standard error, not {num_draws}")
    losses = []
    dims = points[0].numel()
    for level, sigma in enumerate(sigmas):
        found = []
        for draws in draw_batches(points, sigma, seed, level, num_draws):
            if estimator == "full":
                variance = posterior(draws, points, labels).variance
                found.append(torch.stack([variance, torch.zeros_like(variance)]))
            else:
                weight = SOURCE_WEIGHTS[estimator]
                key = (seed, level)
                found.append(subset_values(draws, points, labels, subset_size, weight, key))
        values, bounds = torch.cat(found, dim=1)
        value, stderr = mean_and_stderr(values / dims, shared)
        losses.append(LevelLoss(sigma, value, stderr, float(bounds.mean()) if estimator == "snis" else None))
    return tuple(losses)


def subset_values(
    draws: Draws,
    points: Tensor,
    labels: Tensor | None,
    size: int,
    source_weight: Callable[[float], float],
    key: tuple[int, int],
) -> Tensor:
    """[2, M]: |x0|^2 - |D(x)|^2 of each draw from random subsets of `size` points, and SNIS's bias bound of
    D(x).

    Draws DRAWS_PER_SUBSET k and following share a subset, the one that `key` (seed, level) and k give.
    """
    found = draws.x.new_empty(2, len(draws.x))
    group = draws.item // DRAWS_PER_SUBSET
    for number in group.unique():
        members = (group == number).nonzero()[:, 0]
        order = uniforms(key[0], Purpose.LOSS_SUBSET, number[None], len(points), key[1])[0]
        for rows, choices in own_points(draws.rows(members), points, labels):
            own = draws.rows(members[rows])
            share = size / len(choices)
            weight = source_weight(share) if share < 1 else 0.0
            subset = choices[order[: len(choices)].argsort()[: size - (weight > 0)]]
            mean, probabilities = subset_posterior(own, subset, weight)
            found[0, members[rows]] = own.x0.square().sum(dim=1) - mean.square().sum(dim=1)
            found[1, members[rows]] = 2 * probabilities.square().sum(dim=1)
    return found


def subset_posterior(draws: Draws, subset: Tensor, source_weight: float) -> tuple[Tensor, Tensor]:
    """(posterior mean [M, D], probabilities [M, n + 1])
    from a subset [n, D] and, last, each draw's own source.

    The source's kernel is multiplied by `source_weight`: 0 for SNIS, 1 for DOL, 1 / C for cDOL.
    """
    own = ((draws.x * draws.x0).sum(dim=1) - draws.x0.square().sum(dim=1) / 2) / draws.sigma**2
    own += draws.x.new_tensor(source_weight).log()
    scores, _ = log_kernels(draws.x, subset, draws.sigma)
    probabilities = torch.cat([scores, own[:, None]], dim=1).softmax(dim=1)
    return weighted_sum(probabilities[:, :-1], subset) + probabilities[:, -1:] * draws.x0, probabilities


def mean_and_stderr(values: Tensor, shared: int = 1) -> tuple[float, float]:
    """Mean of values [M] and its standard error, where each
    `shared` neighbours in turn depend on one another."""
    mean = values.mean()
    sums = torch.stack([part.sum() for part in (values - mean).split(shared)])
    stderr = sums.square().sum().sqrt() / len(values) * (len(sums) / (len(sums) - 1)) ** 0.5
    return float(mean), float(stderr)
