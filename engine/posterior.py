"""What one network evaluation says of a clean image: the words in which networks answer samplers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Posterior:
    """What one evaluation says of x0 given x = x0 + sigma eps:
    the mean, and what is known of the variance."""

    x0_hat: "torch.Tensor"
    """E[x0 | x], with the shape of x, [batch, ...]."""
    range_fraction: "torch.Tensor | None" = None
    """iDDPM's learned coordinate v of the reverse variance: -1 at beta_tilde, 1 at beta; not clamped."""
    x0_variance: "torch.Tensor | None" = None
    """Diagonal of Cov[x0 | x], broadcastable to x."""

    def of(self, images: slice) -> "Posterior":
        """That of some images of the batch."""

        def part(values: "torch.Tensor | None") -> "torch.Tensor | None":
            return None if values is None else values.expand_as(self.x0_hat)[images]

        return Posterior(self.x0_hat[images], part(self.range_fraction), part(self.x0_variance))
