"""The noise levels that solvers walk: EDM's time steps and those of the three earlier models [P3 Table 1]."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

VP_BETA_D, VP_BETA_MIN, VP_LAST_TIME = 19.9, 0.1, 1e-3
VE_SIGMA_MIN, VE_SIGMA_MAX = 0.02, 100.0
IDDPM_LENGTH, IDDPM_FIRST = 1000, 8
IDDPM_MIN_RATIO, IDDPM_OFFSET = 0.001, 0.008
"""P3 Table 1: beta_d, beta_min and eps_s; VE's range; M and j_0; C_1 and C_2."""

IDDPM_MAX_STEPS = IDDPM_LENGTH - IDDPM_FIRST
"""Noise levels of the iDDPM table from j_0 on; more steps would visit some of them twice."""


@lru_cache(maxsize=512)
def sigma_grid(num_steps: int, sigma_min: float, sigma_max: float, rho: float) -> tuple[float, ...]:
    """Noise levels from sigma_max down to sigma_min, then 0: `num_steps + 1` float64 values [P3 Eq. 5;
    playbook 5.3].

    They are spaced evenly in sigma^(1/rho). A single step goes straight from sigma_max to 0.
    """
    if num_steps == 1:
        return (sigma_max, 0.0)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    inner = [(high + i / (num_steps - 1) * (low - high)) ** rho for i in range(1, num_steps - 1)]
    return (sigma_max, *inner, sigma_min, 0.0)


@lru_cache(maxsize=512)
def vp_grid(num_steps: int) -> tuple[float, ...]:
    """sigma = sqrt(exp(beta_d t^2 / 2 + beta_min t) - 1) at times even from 1 to 0.001; then 0 [P3 Table 1,
    VP]."""
    times = (1 + fraction * (VP_LAST_TIME - 1) for fraction in _fractions(num_steps))
    return (*(math.sqrt(math.expm1(VP_BETA_D / 2 * time**2 + VP_BETA_MIN * time)) for time in times), 0.0)


@lru_cache(maxsize=512)
def ve_grid(num_steps: int) -> tuple[float, ...]:
    """Noise levels spaced evenly in ln sigma from 100 to 0.02; then 0 [P3 Table 1, VE]."""
    ratio = VE_SIGMA_MIN / VE_SIGMA_MAX
    return (*(VE_SIGMA_MAX * ratio**fraction for fraction in _fractions(num_steps)), 0.0)


@lru_cache(maxsize=512)
def iddpm_grid(num_steps: int) -> tuple[float, ...]:
    """Levels of the iDDPM table at evenly spaced indices, from u_8 = 80.2 on; then 0 [P3 Table 1, iDDPM].

    `num_steps` is at most IDDPM_MAX_STEPS.
    """
    table, span = iddpm_table(), IDDPM_LENGTH - 1 - IDDPM_FIRST
    indices = (math.floor(IDDPM_FIRST + span * fraction + 0.5) for fraction in _fractions(num_steps))
    return (*(table[index] for index in indices), 0.0)


@lru_cache(maxsize=1)
def iddpm_table() -> tuple[float, ...]:
    """u_0 > ... > u_M = 0: the noise levels of the cosine schedule, its steps clipped [P3 Table 1, C.3.4]."""

    def alpha_bar(j: int) -> float:
        return math.sin(math.pi / 2 * j / (IDDPM_LENGTH * (IDDPM_OFFSET + 1))) ** 2

    table = [0.0]
    for j in range(IDDPM_LENGTH, 0, -1):
        ratio = max(alpha_bar(j - 1) / alpha_bar(j), IDDPM_MIN_RATIO)
        table.append(math.sqrt((table[-1] ** 2 + 1) / ratio - 1))
    return tuple(reversed(table))


TABLE_GRIDS: dict[str, Callable[[int], tuple[float, ...]]] = {
    "vp": vp_grid,
    "ve": ve_grid,
    "iddpm": iddpm_grid,
}
"""`num_steps + 1` noise levels of each grid without settings."""

if TYPE_CHECKING:
    GridName = str
else:
    GridName = Literal[("edm", *TABLE_GRIDS)]
"""edm, which has settings, and the others."""


def _fractions(num_steps: int) -> list[float]:
    """i / (N - 1) for i = 0 .. N - 1; a single step has the first alone."""
    return [i / max(num_steps - 1, 1) for i in range(num_steps)]
