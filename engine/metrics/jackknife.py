"""Distances with a block of images left out:
how far a distance would move on other images [Efron & Stein 1981].

Blocks are cut by sample index. Cells of one protocol share their latents index by index, so their blocks hold
the same latents, and the differences of two cells' values say how far their difference would move.
"""

from torch import Tensor

from engine.metrics.frechet import FeatureStats, Gaussian, frechet_distance
from engine.metrics.names import lacks_rank

BLOCKS = 10
"""Blocks of nearly equal size: one Frechet distance more for each."""

FEWEST_PER_BLOCK = 20
"""Images that a block must hold at least."""

MAX_DIMS = 256
"""Features of more dimensions cost too much:
a distance takes eigenvalues, which grow with the third power."""


def jackknifed(features: Tensor) -> bool:
    """Whether features [N, d] get leave-one-out values:
    few dimensions, blocks not tiny, N - N / BLOCKS above d.

    The last keeps every covariance at full rank.
    """
    count, dims = features.shape
    kept = count - -(-count // BLOCKS)
    return dims <= MAX_DIMS and count >= FEWEST_PER_BLOCK * BLOCKS and not lacks_rank(kept, dims)


def leave_one_out(reference: Gaussian, features: Tensor) -> tuple[float, ...]:
    """Frechet distance of features [N, d] to the reference without each of BLOCKS blocks;
    () where not `jackknifed`."""
    if not jackknifed(features):
        return ()
    blocks = [FeatureStats.of(block) for block in features.tensor_split(BLOCKS)]
    whole = FeatureStats.empty(features.shape[1])
    for block in blocks:
        whole.merge(block)
    return tuple(frechet_distance(reference, whole.without(block).gaussian) for block in blocks)
