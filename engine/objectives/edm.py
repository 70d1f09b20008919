"""EDM's training loss: log-normal noise levels, weighted squared error of the denoiser."""

from torch import Tensor

from engine.objectives.base import DenoiseFn, add_noise, per_image
from engine.process.noise_levels import log_normal
from engine.process.weighting import edm_weight
from engine.spec import EdmObjective


def losses(
    objective: EdmObjective, denoise: DenoiseFn, x0: Tensor, label: Tensor | None, uniform: Tensor, eps: Tensor
) -> Tensor:
    """lambda(sigma) * |D(x0 + sigma eps, sigma) - x0|^2 summed over pixels, one value per image [P3 Eq. 8; code].

    `x0` and `eps` have shape [B, C, H, W]; `uniform` [B] in (0, 1) picks the noise levels.
    """
    sigma = log_normal(uniform, objective.p_mean, objective.p_std)
    error = denoise(add_noise(x0, sigma, eps), sigma, label) - x0
    return (per_image(edm_weight(sigma, objective.sigma_data), x0) * error.square()).flatten(1).sum(1)
