"""Parameters and multiply-accumulates of single layers, counted on paper. Imports no torch.

MACs count convolutions, linear layers and attention's two matrix products;
norms, activations, softmax, sums, resampling without weights and table
look-ups are left out. A convolution counts its padding as pixels, as is usual.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-accumulates of one forward pass of one image."""

    params: int
    macs: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs)

    @property
    def flops(self) -> int:
        """Floating-point operations: two a multiply-accumulate. What P1, P5 and DiT call FLOPs are MACs."""
        return 2 * self.macs

    @property
    def is_known(self) -> bool:
        """Whether anybody counted: there is no network without parameters."""
        return self.params > 0


UNKNOWN = Cost(0, 0)
"""Of a network whose kind does not count its layers."""


@dataclass(frozen=True)
class Layer:
    """A named part of a network and what it costs."""

    name: str
    cost: Cost


def conv(before: int, after: int, kernel: int, size: int) -> Cost:
    """A convolution with bias whose output is `size` pixels a side."""
    weights = before * after * kernel * kernel
    return Cost(weights + after, weights * size * size)


def linear(before: int, after: int, rows: int = 1, bias: bool = True) -> Cost:
    """A linear layer on `rows` vectors."""
    weights = before * after
    return Cost(weights + bias * after, weights * rows)


def norm(channels: int) -> Cost:
    """A normalisation with scale and shift."""
    return Cost(2 * channels, 0)


def products(tokens: int, channels: int) -> Cost:
    """Attention's scores and weighted sum; how many heads share the channels makes no difference."""
    return Cost(0, 2 * tokens * tokens * channels)


def sum_of(costs: Iterable[Cost]) -> Cost:
    """All costs together."""
    return sum(costs, Cost(0, 0))
