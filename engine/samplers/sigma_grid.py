"""The noise levels that solvers walk: EDM's time steps and those of the three earlier models [P3 Table 1]."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from engine.process.schedules import NoiseRange

VP_BETA_D = 19.9
VP_BETA_MIN = 0.1
VP_LAST_TIME = 1e-3
VE_SIGMA_MIN = 0.02
VE_SIGMA_MAX = 100.0
IDDPM_LENGTH = 1000
IDDPM_FIRST = 8
IDDPM_MIN_RATIO = 0.001
IDDPM_OFFSET = 0.008
"""P3 Table 1: beta_d, beta_min and eps_s; VE's range; M and j_0; C_1 and C_2."""

IDDPM_MAX_STEPS = IDDPM_LENGTH - IDDPM_FIRST
"""Noise levels of the iDDPM table from j_0 on; more steps would visit some of them twice."""

EDM_LEVELS: NoiseRange = (0.002, 80.0)
IDDPM_LEVELS: NoiseRange = (0.002, 81.0)
"""The ranges of P3's own grid, and of iDDPM's in EDM's ablation_sampler: u_8 is the first below 81."""


@lru_cache(maxsize=512)
def sigma_grid(num_steps: int, sigma_min: float, sigma_max: float, rho: float) -> tuple[float, ...]:
    """Noise levels from sigma_max down to sigma_min, then 0:
    `num_steps + 1` float64 values [P3 Eq. 5; playbook 5.3].

    They are spaced evenly in sigma^(1/rho). A single step goes straight from sigma_max to 0.
    """
    if num_steps == 1:
        return (sigma_max, 0.0)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    inner = [(high + i / (num_steps - 1) * (low - high)) ** rho for i in range(1, num_steps - 1)]
    return (sigma_max, *inner, sigma_min, 0.0)


@lru_cache(maxsize=512)
def polyexponential_grid(
    num_steps: int, sigma_min: float, sigma_max: float, rho: float = 1.0
) -> tuple[float, ...]:
    """sigma = sigma_min (sigma_max / sigma_min)^(r^rho) for r even from 1 to 0; then 0 [k-diffusion,
    get_sigmas_polyexponential; rho = 1 is its get_sigmas_exponential]."""
    spread = math.log(sigma_max / sigma_min)
    ramp = ((1 - fraction) ** rho for fraction in _fractions(num_steps))
    return (*(sigma_min * math.exp(spread * height) for height in ramp), 0.0)


@lru_cache(maxsize=512)
def vp_grid(
    num_steps: int, levels: NoiseRange | None = None, epsilon_s: float = VP_LAST_TIME
) -> tuple[float, ...]:
    """sigma = sqrt(exp(beta_d t^2 / 2 + beta_min t) - 1) at times even from 1 to epsilon_s;
    then 0 [P3 Table 1, VP]. Other `levels` take other betas, `vp_betas`."""
    betas = vp_betas(levels, epsilon_s)
    times = (1 + fraction * (epsilon_s - 1) for fraction in _fractions(num_steps))
    return (*(vp_sigma(time, *betas) for time in times), 0.0)


def vp_sigma(time: float, beta_d: float = VP_BETA_D, beta_min: float = VP_BETA_MIN) -> float:
    """Noise level of the variance-preserving SDE at a time [P3 Table 1, VP]."""
    return math.sqrt(math.expm1(beta_d / 2 * time**2 + beta_min * time))


def vp_betas(levels: NoiseRange | None, epsilon_s: float) -> tuple[float, float]:
    """(beta_d, beta_min) with which the SDE goes through `levels` at times epsilon_s and 1 [EDM's
    ablation_sampler].

    sigma^2 = exp(beta_d t^2 / 2 + beta_min t) - 1 at both times, solved; P3's own for None.
    """
    if levels is None or levels == (vp_sigma(epsilon_s), vp_sigma(1.0)):
        return VP_BETA_D, VP_BETA_MIN
    at_epsilon, at_one = (math.log1p(sigma**2) for sigma in levels)
    beta_d = 2 * (at_epsilon / epsilon_s - at_one) / (epsilon_s - 1)
    return beta_d, at_one - beta_d / 2


def vp_fault(levels: NoiseRange, epsilon_s: float) -> str | None:
    """Why no variance-preserving process has these noise levels at times epsilon_s and 1; None where one has.

    With beta_d <= 0 its noise levels would not rise all the way from the one to the other.
    """
    beta_d, _ = vp_betas(levels, epsilon_s)
    if beta_d > 0:
        return None
    low, high = levels
    return (
        f"vp: no process rises from {low:g} at time {epsilon_s:g} to {high:g} at time 1; "
        "lower sigma_min, raise epsilon_s, or take another grid or noise_schedule"
    )


@lru_cache(maxsize=512)
def ve_grid(
    num_steps: int, sigma_min: float = VE_SIGMA_MIN, sigma_max: float = VE_SIGMA_MAX
) -> tuple[float, ...]:
    """Noise levels spaced evenly in ln sigma, from 100 to 0.02 in the paper; then 0 [P3 Table 1, VE]."""
    ratio = sigma_min / sigma_max
    return (*(sigma_max * ratio**fraction for fraction in _fractions(num_steps)), 0.0)


@lru_cache(maxsize=512)
def iddpm_grid(
    num_steps: int, levels: NoiseRange = IDDPM_LEVELS, table: "IddpmTable | None" = None
) -> tuple[float, ...]:
    """Levels of the iDDPM table at evenly spaced indices among those within `levels`;
    then 0 [P3 Table 1, iDDPM].

    In the paper these are u_8 = 80.2 to u_999. `num_steps` is at most `len(iddpm_levels(...))`.
    """
    within = iddpm_levels(levels, table)
    indices = (math.floor((len(within) - 1) * fraction + 0.5) for fraction in _fractions(num_steps))
    return (*(within[index] for index in indices), 0.0)


class IddpmTable(NamedTuple):
    """What makes the iDDPM table [P3 Table 1: M, C_1, C_2]."""

    length: int = IDDPM_LENGTH
    min_ratio: float = IDDPM_MIN_RATIO
    offset: float = IDDPM_OFFSET


@lru_cache(maxsize=64)
def iddpm_levels(levels: NoiseRange = IDDPM_LEVELS, table: IddpmTable | None = None) -> tuple[float, ...]:
    """The noise levels of the iDDPM table within `levels`, falling."""
    low, high = levels
    return tuple(sigma for sigma in iddpm_table(table) if low <= sigma <= high)


@lru_cache(maxsize=64)
def iddpm_table(table: IddpmTable | None = None) -> tuple[float, ...]:
    """u_0 > ... > u_M = 0: the noise levels of the cosine schedule, its steps clipped [P3 Table 1, C.3.4]."""
    length, min_ratio, offset = table or IddpmTable()

    def alpha_bar(j: int) -> float:
        return math.sin(math.pi / 2 * j / (length * (offset + 1))) ** 2

    levels = [0.0]
    for j in range(length, 0, -1):
        ratio = max(alpha_bar(j - 1) / alpha_bar(j), min_ratio)
        levels.append(math.sqrt((levels[-1] ** 2 + 1) / ratio - 1))
    return tuple(reversed(levels))


TABLE_GRIDS: dict[str, Callable[[int], tuple[float, ...]]] = {
    "vp": vp_grid,
    "ve": ve_grid,
    "iddpm": iddpm_grid,
}
"""`num_steps + 1` noise levels of the other columns of P3's Table 1, with the paper's settings."""

if TYPE_CHECKING:
    GridName = str
else:
    GridName = Literal[("edm", *TABLE_GRIDS, "polyexponential")]
"""edm; vp, ve and iddpm; and k-diffusion's polyexponential."""


def _fractions(num_steps: int) -> list[float]:
    """i / (N - 1) for i = 0 .. N - 1; a single step has the first alone."""
    return [i / max(num_steps - 1, 1) for i in range(num_steps)]
