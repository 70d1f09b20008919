"""Streaming feature statistics and the Frechet distance between the Gaussians they describe."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

BLOCK = 1024
"""Features converted to float64 at a time."""


@dataclass
class FeatureStats:
    """Count, sum [d] and sum of outer products [d, d] of feature vectors, in float64 on the CPU.

    Plain sums rather than running means: merging is then mere addition, so blocks merged in order give the
    same bits as the same blocks added in order. The price, a cancellation in the covariance of relative size
    1e-16 * mean^2 / variance, is far below sampling error for network features, whose means are a few
    standard deviations.
    """

    count: int
    sum: Tensor
    outer: Tensor

    @classmethod
    def empty(cls, dims: int) -> "FeatureStats":
        """Statistics of no vectors."""
        return cls(0, torch.zeros(dims, dtype=torch.float64), torch.zeros(dims, dims, dtype=torch.float64))

    @classmethod
    def of(cls, features: Tensor) -> "FeatureStats":
        """Statistics of features [N, d]."""
        stats = cls.empty(features.shape[1])
        stats.add(features)
        return stats

    def add(self, features: Tensor) -> None:
        """Take in features [B, d]."""
        for block in torch.split(features, BLOCK):
            values = block.to("cpu", torch.float64)
            self.count += len(values)
            self.sum += values.sum(dim=0)
            self.outer += values.T @ values

    def merge(self, other: "FeatureStats") -> None:
        """Take in all that `other` has seen."""
        self.count += other.count
        self.sum += other.sum
        self.outer += other.outer

    def without(self, part: "FeatureStats") -> "FeatureStats":
        """Statistics of all but `part`, which must be among what was seen."""
        return FeatureStats(self.count - part.count, self.sum - part.sum, self.outer - part.outer)

    @property
    def mean(self) -> Tensor:
        """Mean [d]."""
        return self.sum / self.count

    @property
    def covariance(self) -> Tensor:
        """Covariance [d, d] with denominator N - 1; ValueError for fewer than two vectors."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 feature vectors, not {self.count}")
        scatter = self.outer - self.count * torch.outer(self.mean, self.mean)
        return (scatter + scatter.T) / (2 * (self.count - 1))

    @property
    def gaussian(self) -> "Gaussian":
        """The Gaussian of the same mean and covariance; ValueError for fewer than two vectors."""
        return Gaussian(self.mean, self.covariance)

    def to_arrays(self) -> dict[str, Tensor]:
        """Tensors to store."""
        return {"count": torch.tensor(self.count), "sum": self.sum, "outer": self.outer}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Tensor]) -> "FeatureStats":
        """Undo `to_arrays`."""
        return cls(int(arrays["count"]), arrays["sum"], arrays["outer"])


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Mean [d] and covariance [d, d], float64."""

    mean: Tensor
    covariance: Tensor

    @cached_property
    def factor(self) -> Tensor:
        """A matrix F [d, d] with F F^T = covariance.
        Kept, for it costs several times the rest of a distance."""
        values, vectors = torch.linalg.eigh(self.covariance)
        factor: Tensor = vectors * values.clamp(min=0).sqrt()
        return factor


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Squared Frechet distance: |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^1/2 S2 S1^1/2)^1/2.

    With any F F^T = S1 the matrix F^T S2 F has the eigenvalues of S1^1/2 S2 S1^1/2. Only the factor of `a` is
    used: compare many with one by giving that one first. All in float64 through symmetric eigenvalues; those,
    and distances, that rounding made negative count as 0.
    """
    product = a.factor.T @ b.covariance @ a.factor
    cross = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
    shift = (a.mean - b.mean).square().sum()
    return max(0.0, float(shift + a.covariance.trace() + b.covariance.trace() - 2 * cross))
