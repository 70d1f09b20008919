"""Where a trained network falls short of the best possible one:
its loss against the optimum, noise level by level.

For any denoiser D the loss splits at every x: E[|D(x) - x0|^2 | x] = tr Cov[x0 | x] + |D(x) - D*(x)|^2. The
first term is the optimum's, the second the gap. Both are known exactly at each draw of x, so gaps are
measured on the same draws as the optimum, never come out negative, and vanish without noise for a network
that is the optimum.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from pydantic import TypeAdapter
from torch import Tensor

from engine.batch_shape import repeated
from engine.metrics.optimal_loss import mean_and_stderr
from engine.metrics.posterior import draw_batches, posterior
from engine.objectives.design import Design
from engine.process.precond import Preconditioning
from engine.process.weighting import target_weight
from engine.records.record import JsonObject

LOWEST_SIGMA = 0.002
HIGHEST_SIGMA = 80.0
"""The noise levels that `log_levels` keeps to [P3 Table 1]."""

AnyDenoiser = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(x [B, ...], sigma [B], label [B] or None) -> x0_hat [B, ...]; an `engine.denoiser.Denoiser` is one."""


@dataclass(frozen=True)
class Diagnosis:
    """A network's loss and the least possible one at each noise level: squared errors of x0 per dimension."""

    sigmas: tuple[float, ...]
    model_loss: tuple[float, ...]
    optimal_loss: tuple[float, ...]
    gap: tuple[float, ...]
    """model_loss - optimal_loss, at least 0."""
    gap_stderr: tuple[float, ...]
    """Standard error of the gap."""
    weight: tuple[float, ...]
    """What the design multiplies the loss by."""
    num_draws: int
    """Draws at each noise level."""

    @property
    def excess(self) -> float:
        """Mean weighted gap: at `quantile_levels`, the training loss (mean over pixels) above its optimum."""
        return self._weighted(self.gap)

    @property
    def mean_model_loss(self) -> float:
        """Mean weighted loss: at `quantile_levels` the training loss, mean over pixels."""
        return self._weighted(self.model_loss)

    @property
    def mean_optimal_loss(self) -> float:
        """The same of the optimum."""
        return self._weighted(self.optimal_loss)

    @property
    def excess_stderr(self) -> float:
        """Standard error of `excess`, from draws; draws of different levels are independent."""
        terms = ((w * error) ** 2 for w, error in zip(self.weight, self.gap_stderr, strict=True))
        return float(sum(terms) ** 0.5 / len(self.sigmas))

    def _weighted(self, losses: tuple[float, ...]) -> float:
        return sum(weight * loss for weight, loss in zip(self.weight, losses, strict=True)) / len(self.sigmas)

    def to_json(self) -> JsonObject:
        """Plain lists and numbers by field."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, fields: JsonObject) -> "Diagnosis":
        """The inverse of `to_json`."""
        return TypeAdapter(cls).validate_python(fields)


@torch.no_grad()
def diagnose(
    denoiser: AnyDenoiser,
    design: Design,
    points: Tensor,
    labels: Tensor | None,
    sigmas: Sequence[float],
    *,
    num_draws: int,
    seed: int,
    batch_size: int = 64,
) -> Diagnosis:
    """Compare a network with the exact optimum of its training points [N, ...] at each noise level.

    `points` (floating point, in the network's units) hold mirrored images too if training mirrored, and are
    on the denoiser's device. `labels` [N] are given to a class-conditional network, whose optimum knows the
    class; None for another. The denoiser, in evaluation mode, sees batches of one shape. Raises ValueError
    for fewer than 2 draws.
    """
    if num_draws < 2:
        raise ValueError(f"a standard error needs 2 draws at least, not {num_draws}")
    dims = points[0].numel()
    rows = []
    for level, sigma in enumerate(sigmas):
        gaps, optima = [], []
        for draws in draw_batches(points, sigma, seed, level, num_draws):
            label = None if labels is None else labels[draws.source]
            images = draws.x.reshape(-1, *points.shape[1:])
            x0_hat = in_batches(denoiser, images, sigma, label, batch_size).flatten(1).double()
            best = posterior(draws, points, labels)
            gaps.append((x0_hat - best.mean).square().sum(dim=1) / dims)
            optima.append(best.variance / dims)
        gap, gap_stderr = mean_and_stderr(torch.cat(gaps))
        optimum, _ = mean_and_stderr(torch.cat(optima))
        rows.append((float(sigma), optimum + gap, optimum, gap, gap_stderr))
    levels, losses, optimal, gap_means, errors = zip(*rows, strict=True)
    return Diagnosis(levels, losses, optimal, gap_means, errors, weights(design, sigmas), num_draws)


def in_batches(
    denoiser: AnyDenoiser, x: Tensor, sigma: float, label: Tensor | None, batch_size: int
) -> Tensor:
    """x0_hat of images [M, ...], evaluated `batch_size` at
    a time, the last batch filled up with its own images."""
    estimates = []
    for rows in torch.arange(len(x), device=x.device).split(batch_size):
        padded = repeated(rows, batch_size)
        levels = x.new_full((batch_size,), sigma)
        estimates.append(denoiser(x[padded], levels, None if label is None else label[padded])[: len(rows)])
    return torch.cat(estimates)


def weights(design: Design, sigmas: Sequence[float]) -> tuple[float, ...]:
    """What a design multiplies the squared error of x0_hat by at each noise level, as training does."""
    levels = torch.tensor(sigmas, dtype=torch.float64)
    c_out = Preconditioning(design.process, design.target, design.sigma_data)(levels).c_out
    return tuple((target_weight(design.weighting, levels, c_out) / c_out**2).tolist())


def quantile_levels(design: Design, count: int) -> tuple[float, ...]:
    """The medians of `count` equally probable slices of a
    design's distribution of noise levels, rising or falling."""
    uniform = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return tuple(design.noise_levels.sigma(uniform, design.process).tolist())


def log_levels(design: Design, count: int) -> tuple[float, ...]:
    """`count` noise levels even in log sigma over the process's range, within 0.002 .. 80."""
    low, high = design.process.sigma_range
    start, end = math.log(max(low, LOWEST_SIGMA)), math.log(min(high, HIGHEST_SIGMA))
    return tuple(torch.linspace(start, end, count, dtype=torch.float64).exp().tolist())
