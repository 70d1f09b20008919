"""OCM: regress the diagonal of the score's Jacobian by an unbiased estimate of it [P6; playbook 3.6-3.7]."""

import torch
from torch import Tensor

from engine.denoiser import Denoiser, Output, columns
from engine.objectives.losses.batch import Noised, Terms


def covariance_losses(denoiser: Denoiser, batch: Noised) -> Terms:
    """|estimate - h|^2 over pixels, one value per image; `denoiser` holds an OcmNet [P6; playbook 3.7].

    Each image gets one vector of random signs from torch's global generator, which the training loop seeds
    for every batch by the position of its first image, as it does for dropout. The minimum over h is the
    estimate's mean. Raises ValueError when the network has no head.
    """
    x = batch.x.requires_grad_()
    output = denoiser.output(x, batch.sigma, batch.label, batch.augment)
    if output.head is None:
        raise ValueError("OCM trains a head, and this network has none")
    signs = torch.randint(0, 2, x.shape, device=x.device).to(x.dtype) * 2 - 1
    error = output.head - diagonal_estimate(output, x, signs)
    return {"loss": error.square().flatten(1).sum(1)}


def diagonal_estimate(output: Output, x: Tensor, signs: Tensor) -> Tensor:
    """sigma^2 v * grad_x(v . score(x)) for signs v: its mean over v is sigma^2 diag(d score / dx).
    No gradient.

    With x = x0 + sigma eps and score = (x0_hat - x) / sigma^2 this is v * grad_x(v . x0_hat) - 1, and x0_hat
    = c_skip x + c_out T leaves only the network's own T to differentiate. P6 writes it for x_t = a x, whose
    score is a times smaller and whose noise is b = a sigma: b^2 d score / dx_t is the same number.
    """
    (gradient,) = torch.autograd.grad((signs * output.target).sum(), x)
    c = output.coefficients
    return columns(c.c_skip - 1, x) + columns(c.c_out, x) * signs * gradient


class OcmVariance:
    """The posterior variance that a head's h says: Cov[x0 | x] = sigma^2 (1 + h) on the diagonal [P6]."""

    def __call__(self, sigma: Tensor, head: Tensor | None, eps_hat: Tensor | None = None) -> Tensor:
        """Variance [B, C, H, W], float64 and never negative, at noise levels sigma [B] for h = `head`.

        Raises ValueError when the network has no head.
        """
        if head is None:
            raise ValueError("OCM's variance comes from a head, and this network has none")
        return (columns(sigma.double() ** 2, head.double()) * (1 + head.double())).clamp(min=0)
