"""Analytic-DPM: the best variance that is one number for
a noise level, measured on data with a trained network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.noise import Purpose, normal

FIRST_STEP = 2**31
"""Step number of the first level's noise: beyond any training's, whose noise shares the purpose."""


@dataclass(frozen=True)
class AnalyticVariance:
    """Cov[x0 | x] = sigma^2 (1 - Gamma), the same for all pixels and images [Bao et al. 2022; engine facts
    B9]."""

    sigmas: tuple[float, ...]
    """Noise levels, rising."""
    gammas: tuple[float, ...]
    """Gamma at each of them."""

    def __post_init__(self) -> None:
        if len(self.sigmas) != len(self.gammas) or list(self.sigmas) != sorted(set(self.sigmas)):
            raise ValueError("AnalyticVariance needs rising noise levels and one Gamma for each")

    def __call__(self, sigma: Tensor, head: Tensor | None = None, eps_hat: Tensor | None = None) -> Tensor:
        """Variance [B, 1, 1, 1] at noise levels [B], from the listed level nearest in log sigma; at least 0.

        What a network says beside it, `head` and `eps_hat`, is not used.
        """
        levels = sigma.new_tensor(self.sigmas)
        gammas = sigma.new_tensor(self.gammas)
        nearest = torch.bucketize(sigma.contiguous(), (levels[1:] * levels[:-1]).sqrt())
        return (levels[nearest] ** 2 * (1 - gammas[nearest])).clamp(min=0).reshape(-1, 1, 1, 1)


@torch.inference_mode()
def analytic_gammas(
    denoise: Callable[[Tensor, float, Tensor | None], Tensor],
    images: Tensor,
    sigmas: Sequence[float],
    *,
    seed: int,
    batch_size: int,
    labels: Tensor | None = None,
) -> list[float]:
    """Gamma = E|eps_hat|^2 / D at each noise level, over images [M, C, H, W] in [-1, 1] with `labels` [M] or
    none.

    `denoise` is a Denoiser: (x, sigma, label) -> x0_hat. Image i meets the same noise
    however the batches are cut. 1 - Gamma is measured as the mean of (eps - eps_hat)
    (eps + eps_hat), whose expectation is the same because E eps^2 = 1: at sigma = 157
    the plain mean square would need tens of thousands of times as many images.
    """
    gammas = []
    for level, sigma in enumerate(sigmas):
        total = 0.0
        for keys in torch.arange(len(images), device=images.device).split(batch_size):
            x0 = images[keys].double()
            eps = normal(seed, Purpose.TRAINING_NOISE, keys, tuple(images.shape[1:]), FIRST_STEP + level)
            x0_hat = denoise(x0 + sigma * eps, sigma, None if labels is None else labels[keys])
            missed = (x0_hat - x0) / sigma
            total += float((missed * (2 * eps - missed)).sum())
        gammas.append(1 - total / images.numel())
    return gammas
