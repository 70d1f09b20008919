"""How two sets overlap: precision, recall [Kynkäänniemi
et al. 2019], density and coverage [Naeem et al. 2020].

A set's manifold is the union of closed balls, one around each vector, that reach to its k-th nearest
neighbour in the same set, itself not counted.

Distances are computed in square tiles, so that beside the features and a
few numbers a vector no more than some eight [TILE, max(TILE, d)] float64
matrices are held, 256 MiB at d = 2048, however many vectors there are.

Products are float64. In float32, even of centred features, they are off by up to 2e-6 of a squared distance,
so copies are no longer at distance 0 and borders are not kept; and they save little: with the conversions
they are 1.2 times as fast at d = 2048, and slower at d = 64 (tests/bench/precision_recall.py).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

TILE = 2048
"""Vectors on each side of a tile of distances."""


@dataclass(frozen=True, eq=False)
class Manifold:
    """Features [N, d] and the radii of their balls."""

    features: Tensor
    k: int
    """Neighbours that a ball reaches to."""
    squared_radii: Tensor
    """Squares of the radii, float64 [N]."""

    @classmethod
    def of(cls, features: Tensor, k: int, tile: int = TILE) -> "Manifold":
        """The manifold of features [N, d]; ValueError when they have no k-th neighbour."""
        if len(features) <= k:
            raise ValueError(f"{k} neighbours need more than {k} vectors; there are {len(features)}")
        return cls(features, k, squared_radii(features, k, tile))


class Overlap(NamedTuple):
    """Precision, recall and coverage are in [0, 1]; density may exceed 1."""

    precision: float
    """Share of the generated vectors inside the manifold of the real ones."""
    recall: float
    """Share of the real vectors inside the manifold of the generated ones."""
    density: float
    """Real balls that a generated vector lies in, on average, over k:
    about 1 where both have one distribution."""
    coverage: float
    """Share of the real balls that hold a generated vector:
    for equal, large sets of one distribution 1 - 2^-k."""


def overlap(real: Manifold, fake: Manifold, tile: int = TILE) -> Overlap:
    """Compare generated vectors with real ones, computing each distance between them once."""
    balls = torch.zeros(len(fake.features), dtype=torch.int64)
    covered, recalled = torch.zeros(2, len(real.features), dtype=torch.bool)
    for rows in tiles(real.features, tile):
        real_rows = real.features[rows].double()
        for columns in tiles(fake.features, tile):
            distances = squared_distances(real_rows, fake.features[columns].double())
            in_real = distances <= real.squared_radii[rows, None]
            balls[columns] += in_real.sum(dim=0)
            covered[rows] |= in_real.any(dim=1)
            recalled[rows] |= (distances <= fake.squared_radii[columns]).any(dim=1)
    return Overlap(share(balls > 0), share(recalled), float(balls.double().mean()) / real.k, share(covered))


def squared_radii(features: Tensor, k: int, tile: int = TILE) -> Tensor:
    """Squared distance float64 [N] from each vector to its k-th nearest neighbour, itself not counted.

    Two vectors' distance serves both of them, so only half of the tiles are computed.
    """
    nearest = torch.full((len(features), k), torch.inf, dtype=torch.float64)
    for rows in tiles(features, tile):
        block = features[rows].double()
        for columns in tiles(features[: rows.start], tile):
            distances = squared_distances(block, features[columns].double())
            nearest[rows] = smallest(nearest[rows], distances, k)
            nearest[columns] = smallest(nearest[columns], distances.T, k)
        own = squared_distances(block, block).fill_diagonal_(torch.inf)
        nearest[rows] = smallest(nearest[rows], own, k)
    return nearest[:, -1]


def smallest(kept: Tensor, more: Tensor, k: int) -> Tensor:
    """The k smallest [R, k] of each row of kept [R, k] and more [R, C], in rising order."""
    fewer = more.topk(min(k, more.shape[1]), dim=1, largest=False).values
    return torch.cat([kept, fewer], dim=1).topk(k, dim=1, largest=False).values


def tiles(features: Tensor, size: int) -> list[slice]:
    """Slices of at most `size` vectors that cover all."""
    return [slice(start, min(start + size, len(features))) for start in range(0, len(features), size)]


def share(flags: Tensor) -> float:
    """Share of flags [N] that are set."""
    return float(flags.double().mean())


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances [A, B] of float64 vectors, by one matrix product.

    What is below the formula's rounding error is set to 0,
    so that copies of a vector are at distance 0 exactly.
    """
    norms_a, norms_b = a.square().sum(dim=1), b.square().sum(dim=1)
    rounding_error = a.shape[1] * torch.finfo(torch.float64).eps * float(norms_a.max() + norms_b.max())
    distances = (norms_a[:, None] + norms_b).addmm_(a, b.T, alpha=-2)
    return torch.threshold_(distances, rounding_error, 0.0)
