"""What samplers are handed: a denoiser whose labels are fixed, with classifier-free guidance."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.denoiser import Denoiser
from engine.posterior import Posterior

NULL_LABEL = -1
"""Tells a network with label dropout that the label is hidden."""


@dataclass(frozen=True)
class Guided:
    """x0_u + w (x0_c - x0_u), w being the guidance [Ho & Salimans 2022; companion text 004].

    w = 1 is the conditional prediction and w = 0 the unconditional one, each from one evaluation; else there
    are two, both of the batch's own shape. Raises ValueError for guidance other than 1 without labels.
    """

    denoiser: Denoiser
    label: Tensor | None
    """Class of each image, int64 [B], or None for an unconditional network."""
    guidance: float = 1.0
    channels: int | None = None
    """Guide the first channels alone, as DiT's code does; the others are the conditional prediction's."""

    def __post_init__(self) -> None:
        if self.guidance != 1 and self.label is None:
            raise ValueError(
                f"guidance {self.guidance:g} mixes predictions with and without labels: give labels"
            )

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """x0_hat of `x` [B, C, H, W] at noise level `sigma` (one for all, or [B])."""
        if self.guidance == 1:
            x0_hat: Tensor = self.denoiser(x, sigma, self.label)
            return x0_hat
        unlabelled: Tensor = self.denoiser(x, sigma, self._null)
        return (
            unlabelled if self.guidance == 0 else self._mix(unlabelled, self.denoiser(x, sigma, self.label))
        )

    def posterior(self, x: Tensor, sigma: Tensor | float) -> Posterior:
        """The guided mean; what is known of the variance is
        the conditional prediction's, or the only one's."""
        if self.guidance == 0:
            return self.denoiser.posterior(x, sigma, self._null)
        conditional = self.denoiser.posterior(x, sigma, self.label)
        if self.guidance == 1:
            return conditional
        return replace(conditional, x0_hat=self._mix(self.denoiser(x, sigma, self._null), conditional.x0_hat))

    def probe(self, x: Tensor, sigma: Tensor | float, signs: Tensor) -> Posterior:
        """The mean and one estimate of the variance by random signs, of the
        conditional prediction or of the only one. ValueError for a mixture of two."""
        if self.guidance not in (0, 1):
            raise ValueError("a guided prediction has no gradient of its own to estimate a variance by")
        return self.denoiser.probe(x, sigma, signs, self._null if self.guidance == 0 else self.label)

    @property
    def _null(self) -> Tensor | None:
        return None if self.label is None else torch.full_like(self.label, NULL_LABEL)

    def _mix(self, unlabelled: Tensor, labelled: Tensor) -> Tensor:
        mixed = unlabelled + self.guidance * (labelled - unlabelled)
        if self.channels is None:
            return mixed
        return torch.cat([mixed[:, : self.channels], labelled[:, self.channels :]], dim=1)
