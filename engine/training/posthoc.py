"""Post-hoc averages: a power-function average of any width from the snapshots of a few tracked ones.

Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models" (CVPR 2024), Section 3,
App. C. A power-function average taken at time t weighs the weights of time tau by its profile p(tau) = (gamma
+ 1) tau^gamma / t^(gamma + 1), 0 < tau <= t. A wanted profile is fitted by a linear combination of the
tracked snapshots' profiles with least squares; the same combination of their weights is the average.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def power_gamma(sigma_rel: float) -> float:
    """Exponent gamma of the profile whose standard deviation is `sigma_rel` of its length.

    sigma_rel^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)), solved as a cubic:
    0.05 gives 16.97, 0.10 gives 6.94.
    """
    precision = sigma_rel**-2
    return float(np.roots([1, 7, 16 - precision, 12 - precision]).real.max())


@dataclass(frozen=True)
class Profile:
    """A power-function average of relative width `sigma_rel` when `images_shown` images had been shown."""

    sigma_rel: float
    images_shown: int


def inner_products(left: Sequence[Profile], right: Sequence[Profile]) -> Tensor:
    """Integrals of p_left * p_right over training, float64 [len(left), len(right)].

    (a + 1)(b + 1) / (a + b + 1) * (earlier / later)^c / later, where c is the gamma of the later one.
    """
    gamma_left, time_left = _columns(left)
    gamma_right, time_right = (column.T for column in _columns(right))
    earlier, later = torch.minimum(time_left, time_right), torch.maximum(time_left, time_right)
    gamma_later = torch.where(time_left > time_right, gamma_left, gamma_right)
    scale = (gamma_left + 1) * (gamma_right + 1) / (gamma_left + gamma_right + 1)
    products: Tensor = scale * (earlier / later).pow(gamma_later) / later
    return products


def _columns(profiles: Sequence[Profile]) -> tuple[Tensor, Tensor]:
    """gamma and time of each profile: two float64 columns."""
    gammas = [[power_gamma(profile.sigma_rel)] for profile in profiles]
    times = [[profile.images_shown] for profile in profiles]
    return torch.tensor(gammas, dtype=torch.float64), torch.tensor(times, dtype=torch.float64)


def mixing_weights(tracked: Sequence[Profile], wanted: Profile) -> Tensor:
    """Coefficients float64 [len(tracked)], adding up to 1,
    whose mixture of profiles is nearest to the wanted one.

    Some may be negative. Profiles are scaled to length 1 first, which keeps the equations well conditioned.
    """
    products = inner_products(tracked, tracked)
    lengths = products.diagonal().sqrt()
    right = inner_products(tracked, [wanted])[:, 0] / lengths
    mixture = torch.linalg.solve(products / lengths[:, None] / lengths, right) / lengths
    coefficients: Tensor = mixture / mixture.sum()
    return coefficients


def mix(parts: Iterable[dict[str, Tensor]], coefficients: Tensor) -> dict[str, Tensor]:
    """Sum of coefficient * tensor over the parts, name by name, in float64; parts are read one at a time."""
    total: dict[str, Tensor] = {}
    for part, coefficient in zip(parts, coefficients.tolist(), strict=True):
        for name, tensor in part.items():
            scaled = tensor.double() * coefficient
            total[name] = total[name] + scaled if name in total else scaled
    return total
