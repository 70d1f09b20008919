"""Numbers of sets of images that need no Gaussian: the Inception score and the kernel distance."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

SPLITS = 10
"""Parts of the images that an Inception score is the mean of [Salimans et al. 2016]."""
SUBSETS = 100
SUBSET_SIZE = 1_000
"""A kernel distance is the mean over so many pairs of subsets of so many images [Bińkowski et al. 2018]."""
SEED = 2020
"""torch-fidelity's: what it draws decides its numbers, so that with equal features ours are the same."""


class Spread(NamedTuple):
    """The mean over splits or subsets, and their standard deviation (over N, as torch-fidelity has it)."""

    mean: float
    std: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        """Of the values of all splits."""
        return cls(float(np.mean(values)), float(np.std(values)))


def inception_score(logits: Tensor, splits: int = SPLITS) -> Spread:
    """exp E KL(p(y|x) || p(y)) of logits [N, classes], taken in each split alone; 1 to the number of classes.

    p(y) is the mean over the split. Images are shuffled first: they may lie class by class,
    and a split of few classes would score low. ValueError for fewer images than splits.
    """
    count = len(logits)
    if count < splits:
        raise ValueError(f"an Inception score of {splits} splits needs as many images, not {count}")
    order = torch.from_numpy(np.random.RandomState(SEED).permutation(count))
    log_p = logits[order].double().log_softmax(dim=1)
    values = []
    for split in range(splits):
        part = log_p[split * count // splits : (split + 1) * count // splits]
        divergence = part.exp() * (part - part.exp().mean(dim=0, keepdim=True).log())
        # p log p is 0 where p underflows to 0, also where no image of the split gives the class.
        divergence = divergence.where(part.exp() > 0, 0.0)
        values.append(float(divergence.sum(dim=1).mean().exp()))
    return Spread.of(values)


def subset_indices(
    num_generated: int, num_real: int, subsets: int = SUBSETS, size: int = SUBSET_SIZE
) -> tuple[Tensor, Tensor]:
    """Which images are compared: int64 [subsets, size] of the generated and of the real ones.

    Within a subset no image comes twice. ValueError for fewer images than a subset has.
    """
    if min(num_generated, num_real) < size:
        raise ValueError(f"subsets of {size} need as many images, not {num_generated} and {num_real}")
    drawn = np.random.RandomState(SEED)
    pairs = [
        (drawn.choice(num_generated, size, replace=False), drawn.choice(num_real, size, replace=False))
        for _ in range(subsets)
    ]
    generated, real = (torch.from_numpy(np.stack(side)) for side in zip(*pairs, strict=True))
    return generated, real


def kernel_distance(generated: Tensor, real: Tensor, chosen: tuple[Tensor, Tensor]) -> Spread:
    """Squared maximum mean discrepancy of features [N, d] and [M, d] over pairs of subsets.

    `chosen` are rows of each, as of `subset_indices`. The estimate is unbiased, so it may be below 0.
    """
    values = [
        squared_discrepancy(generated[ours].double(), real[theirs].double())
        for ours, theirs in zip(*chosen, strict=True)
    ]
    return Spread.of(values)


def squared_discrepancy(x: Tensor, y: Tensor) -> float:
    """MMD^2 of x, y [n, d] under the kernel (x.y / d + 1)^3, unbiased:
    pairs of an image with itself are left out."""
    count = len(x)
    within = sum(_off_diagonal_sum(_kernel(side, side)) for side in (x, y)) / (count * (count - 1))
    return within - 2 * float(_kernel(x, y).mean())


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _off_diagonal_sum(kernel: Tensor) -> float:
    return float(kernel.sum() - kernel.diagonal().sum())
