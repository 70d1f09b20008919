"""The steps every loss shares."""

from collections.abc import Callable

from torch import Tensor

DenoiseFn = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(x [B, C, H, W], sigma [B], label [B] or None) -> x0_hat [B, C, H, W]."""


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """One value per image [B] as a column [B, 1, 1, 1] in the dtype of `like`."""
    return values.to(like.dtype)[:, None, None, None]


def add_noise(x0: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    """x = x0 + sigma * eps."""
    return x0 + per_image(sigma, x0) * eps
