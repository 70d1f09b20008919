"""EDM's time steps: noise levels spaced evenly in sigma^(1/rho)."""

from functools import lru_cache


@lru_cache(maxsize=512)
def sigma_grid(num_steps: int, sigma_min: float, sigma_max: float, rho: float) -> tuple[float, ...]:
    """Noise levels from sigma_max down to sigma_min, then 0: `num_steps + 1` float64 values [P3 Eq. 5; playbook 5.3].

    A single step goes straight from sigma_max to 0.
    """
    if num_steps == 1:
        return (sigma_max, 0.0)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    inner = [(high + i / (num_steps - 1) * (low - high)) ** rho for i in range(1, num_steps - 1)]
    return (sigma_max, *inner, sigma_min, 0.0)
