"""Improved precision and recall: how much of one set lies on the manifold of the other [Kynkäänniemi et al. 2019]."""

import torch
from torch import Tensor

BLOCK = 256
"""Points compared with all others at a time; bounds memory to a few [BLOCK, N] float64 matrices."""


def precision_recall(real: Tensor, fake: Tensor, k: int = 3, block_size: int = BLOCK) -> tuple[float, float]:
    """Precision and recall, each in [0, 1], of features real [N, d] and fake [M, d].

    A set's manifold is the union of closed balls, one around each vector, that reach to its k-th nearest neighbour in
    the same set, itself not counted. Precision is the share of `fake` inside the manifold of `real`; recall is the
    share of `real` inside that of `fake`. Raises ValueError when a set has no k-th neighbour.
    """
    if min(len(real), len(fake)) <= k:
        raise ValueError(f"{k} neighbours need more than {k} vectors; there are {len(real)} real and {len(fake)} fake")
    # float64: in float32 the cancellation in |x|^2 + |y|^2 - 2xy is as large as the distances between near neighbours.
    real, fake = real.double(), fake.double()
    precision = share_inside(fake, real, squared_radii(real, k, block_size), block_size)
    recall = share_inside(real, fake, squared_radii(fake, k, block_size), block_size)
    return precision, recall


def squared_radii(features: Tensor, k: int, block_size: int) -> Tensor:
    """Squared distance [N] from each vector to its k-th nearest neighbour, itself not counted."""
    radii = []
    for start in range(0, len(features), block_size):
        block = features[start : start + block_size]
        distances = squared_distances(block, features)
        distances[range(len(block)), range(start, start + len(block))] = torch.inf
        radii.append(distances.topk(k, dim=1, largest=False).values[:, -1])
    return torch.cat(radii)


def share_inside(points: Tensor, centres: Tensor, radii: Tensor, block_size: int) -> float:
    """Share of points within at least one of the closed balls with these squared radii."""
    blocks = torch.split(points, block_size)
    inside = torch.cat([(squared_distances(block, centres) <= radii).any(dim=1) for block in blocks])
    return float(inside.double().mean())


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances [A, B] of float64 vectors, by one matrix product.

    What is below the formula's rounding error is set to 0, so that copies of a vector are at distance 0 exactly.
    """
    norms_a, norms_b = a.square().sum(dim=1), b.square().sum(dim=1)
    rounding_error = a.shape[1] * torch.finfo(torch.float64).eps * float(norms_a.max() + norms_b.max())
    distances = (norms_a[:, None] + norms_b).addmm_(a, b.T, alpha=-2)
    return torch.threshold_(distances, rounding_error, 0.0)
