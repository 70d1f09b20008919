"""Loss weights, written for the squared error of x0_hat."""

from torch import Tensor


def edm_weight(sigma: Tensor, sigma_data: float) -> Tensor:
    """lambda(sigma) = (sigma^2 + sigma_data^2) / (sigma * sigma_data)^2 = 1 / c_out^2 [P3 Table 1; playbook 3.4]."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def noise_prediction_weight(sigma: Tensor) -> Tensor:
    """1 / sigma^2: the error of x0_hat = x - sigma * eps_hat seen as an error of eps_hat [P1 Eq. 14]."""
    return 1 / sigma**2
