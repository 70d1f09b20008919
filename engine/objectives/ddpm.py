"""DDPM's L_simple: predict the noise at a uniformly drawn timestep."""

from torch import Tensor

from engine.objectives.base import DenoiseFn, add_noise, per_image
from engine.process.noise_levels import uniform_timestep
from engine.process.weighting import noise_prediction_weight
from engine.spec import SimpleObjective


def losses(
    objective: SimpleObjective, denoise: DenoiseFn, x0: Tensor, label: Tensor | None, uniform: Tensor, eps: Tensor
) -> Tensor:
    """|eps_hat - eps|^2 averaged over pixels, one value per image [P1 Eq. 14; playbook 0.0].

    `x0` and `eps` have shape [B, C, H, W]; `uniform` [B] in (0, 1) picks the timesteps.
    """
    sigma = uniform_timestep(uniform, objective.schedule, objective.num_timesteps)
    error = denoise(add_noise(x0, sigma, eps), sigma, label) - x0
    return (per_image(noise_prediction_weight(sigma), x0) * error.square()).flatten(1).mean(1)
