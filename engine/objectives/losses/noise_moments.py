"""NPR and SN: regress second moments of the noise that an
image holds [Bao et al. 2022b, Extended-Analytic-DPM]."""

import torch
from torch import Tensor

from engine.denoiser import Denoiser, columns, predicted_noise
from engine.objectives.losses.batch import Noised, Terms


def residual_losses(denoiser: Denoiser, batch: Noised) -> Terms:
    """|(eps - eps_hat)^2 - h|^2 over pixels, one value per image. ValueError when the network has no head."""
    head, eps_hat = head_and_noise(denoiser, batch)
    error = (batch.eps - eps_hat).square() - head
    return {"loss": error.square().flatten(1).sum(1)}


def square_losses(denoiser: Denoiser, batch: Noised) -> Terms:
    """|eps^2 - h|^2 over pixels, one value per image. ValueError when the network has no head."""
    head, _ = head_and_noise(denoiser, batch)
    error = batch.eps.square() - head
    return {"loss": error.square().flatten(1).sum(1)}


def head_and_noise(denoiser: Denoiser, batch: Noised) -> tuple[Tensor, Tensor]:
    """The head's output, and the frozen network's eps_hat without gradient, from one evaluation."""
    output = denoiser.output(batch.x, batch.sigma, batch.label, batch.augment)
    return known(output.head), predicted_noise(output, batch.x, batch.sigma).detach()


def known(head: Tensor | None) -> Tensor:
    """A head's output. ValueError when there is none."""
    if head is None:
        raise ValueError("the variance comes from a head, and this network has none")
    return head


class NprVariance:
    """Cov[x0 | x] = sigma^2 h on the diagonal, for h = E[(eps - eps_hat)^2 | x]."""

    def __call__(self, sigma: Tensor, head: Tensor | None, eps_hat: Tensor | None = None) -> Tensor:
        """Variance [B, C, H, W], float64 and never negative, at noise levels sigma [B].
        ValueError without a head."""
        h = known(head).double()
        return (columns(sigma.double() ** 2, h) * h).clamp(min=0)


class SnVariance:
    """Cov[x0 | x] = sigma^2 (h - eps_hat^2) on the diagonal, for h = E[eps^2 | x]."""

    def __call__(self, sigma: Tensor, head: Tensor | None, eps_hat: Tensor | None = None) -> Tensor:
        """Variance [B, C, H, W], float64 and never negative, at noise levels sigma [B].

        Raises ValueError without a head, and without the noise that the network predicts.
        """
        h = known(head).double()
        if eps_hat is None:
            raise ValueError("SN's variance needs the predicted noise")
        open_share: Tensor = h - torch.square(eps_hat.double())
        return (columns(sigma.double() ** 2, h) * open_share).clamp(min=0)
