"""Which points of a finite data set a noisy image may have come from:
x = x0 + sigma eps, x0 uniform over N points.

Kernels and means are float64 throughout: float32 products would put errors of about 1e-7 |x| |x0| / sigma^2
into the softmax's logits, and a variance is a difference of squares. Points keep their own dtype and are
converted by blocks.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.noise import Purpose, normal, uniform

DRAWS_AT_ONCE = 512
"""Draws held in memory together."""

BLOCK = 2**20
"""Numbers of the data set converted to float64 at a time (8 MiB)."""

SCORES = 2**24
"""Kernels held at a time (128 MiB)."""


@dataclass(frozen=True)
class Draws:
    """Noisy images of one noise level, flat and in float64, with the points they came from."""

    item: Tensor
    """Number [M] of each draw at its noise level, int64."""
    source: Tensor
    """Index [M] of its point, int64."""
    x0: Tensor
    """Those points [M, D]."""
    x: Tensor
    """x0 + sigma eps [M, D]."""
    sigma: float

    def rows(self, index: Tensor) -> "Draws":
        """Some of them, by index [m]."""
        return Draws(self.item[index], self.source[index], self.x0[index], self.x[index], self.sigma)


def draw(points: Tensor, sigma: float, seed: int, level: int, items: Tensor) -> Draws:
    """Draws number `items` [M] (int64) of noise level number `level`, from points [N, ...] uniformly.

    A draw is a function of (seed, level, item), whichever are drawn with it. Raises ValueError unless sigma >
    0 and the points are floating-point numbers.
    """
    if not sigma > 0 or not points.is_floating_point():
        raise ValueError(
            f"needs sigma > 0 and points in float, not sigma {sigma:g} and points in {points.dtype}"
        )
    source = (uniform(seed, Purpose.LOSS_SOURCE, items, level) * len(points)).long()
    x0 = points[source].flatten(1).double()
    eps = normal(seed, Purpose.LOSS_NOISE, items, (x0.shape[1],), level)
    return Draws(items, source, x0, x0 + sigma * eps, sigma)


def draw_batches(points: Tensor, sigma: float, seed: int, level: int, num_draws: int) -> Iterator[Draws]:
    """Draws 0 .. num_draws - 1 of a noise level, DRAWS_AT_ONCE at a time."""
    for items in torch.arange(num_draws, device=points.device).split(DRAWS_AT_ONCE):
        yield draw(points, sigma, seed, level, items)


@dataclass(frozen=True)
class Moments:
    """Of the points that x may have come from, for each of M draws."""

    mean: Tensor
    """D*(x) = E[x0 | x], [M, D]."""
    variance: Tensor
    """tr Cov[x0 | x], [M]."""


def posterior(draws: Draws, points: Tensor, labels: Tensor | None = None) -> Moments:
    """The exact posterior at each draw from points [N, ...];
    with `labels` [N], among points of the draw's own class.

    The variance is |x0 - D*(x)|^2 averaged over the sources x may have had: the same mean, less noise.
    """
    mean, variance = torch.empty_like(draws.x), draws.x.new_empty(len(draws.x))
    for rows, choices in own_points(draws, points, labels):
        for part in rows.split(max(1, SCORES // len(choices))):
            scores, norms = log_kernels(draws.x[part], choices, draws.sigma)
            probabilities = scores.softmax(dim=1)
            centre = weighted_sum(probabilities, choices)
            mean[part] = centre
            # Clamped, since rounding of about 1e-16 E|x0|^2 can pass below 0.
            variance[part] = (probabilities @ norms - centre.square().sum(dim=1)).clamp(min=0)
    return Moments(mean, variance)


def own_points(draws: Draws, points: Tensor, labels: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """(rows of the draws, the flat points they may have come from [n, D]): all, or class by class."""
    flat = points.flatten(1)
    if labels is None:
        yield torch.arange(len(draws.x), device=points.device), flat
        return
    own = labels[draws.source]
    for label in own.unique():
        yield (own == label).nonzero()[:, 0], flat[labels == label]


def log_kernels(x: Tensor, points: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """-|x - point|^2 / (2 sigma^2) [M, n] for x [M, D] and points [n, D], and the points' squared norms [n].

    |x|^2 is left out: all points share it and it would swamp the rest at large noise.
    """
    scores = x.new_empty(len(x), len(points))
    norms = x.new_empty(len(points))
    scaled = x / sigma**2
    for part, block in float_blocks(points):
        norms[part] = block.square().sum(dim=1)
        scores[:, part] = torch.addmm(norms[part] / (-2 * sigma**2), scaled, block.T)
    return scores, norms


def weighted_sum(weights: Tensor, points: Tensor) -> Tensor:
    """weights [M, n] times points [n, D], in float64."""
    total = weights.new_zeros(len(weights), points.shape[1])
    for part, block in float_blocks(points):
        total.addmm_(weights[:, part], block)
    return total


def float_blocks(points: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Points [n, D] in float64, some at a time, and which these are."""
    step = max(1, BLOCK // points.shape[1])
    for start in range(0, len(points), step):
        yield slice(start, start + step), points[start : start + step].double()
