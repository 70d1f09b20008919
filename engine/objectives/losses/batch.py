"""What every loss is given and gives back."""

from dataclasses import dataclass

from torch import Tensor

from engine.denoiser import columns

Terms = dict[str, Tensor]
"""Values per image [B]: `loss`, which is minimised, and the
terms it is made of, which are logged under their names."""


@dataclass(frozen=True)
class Noised:
    """A batch to learn from: clean images, the noise to add to each, and what the network is told."""

    x0: Tensor
    """[B, C, H, W] in [-1, 1]."""
    eps: Tensor
    """Standard normal noise, same shape."""
    sigma: Tensor
    """Noise levels [B], float64."""
    label: Tensor | None = None
    """Classes [B], int64; -1 where the label is hidden; None for an unconditional network."""
    augment: Tensor | None = None
    """Augmentation labels [B, 9]; None without augmentation."""

    @property
    def x(self) -> Tensor:
        """x0 + sigma * eps."""
        return self.x0 + columns(self.sigma, self.x0) * self.eps
