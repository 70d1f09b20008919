"""Variance-preserving schedules: the cumulative product alpha_bar of each of T discrete timesteps, in float64."""

import math
from functools import lru_cache
from itertools import accumulate, pairwise
from operator import mul
from typing import Literal

ScheduleName = Literal["linear", "cosine"]


def linear_betas(num_timesteps: int) -> list[float]:
    """Betas evenly spaced from 1e-4 to 0.02 at T = 1000, scaled by 1000 / T otherwise [P1 2.1, code; playbook 2.9]."""
    scale = 1000 / num_timesteps
    low, high = scale * 1e-4, scale * 0.02
    return [low + (high - low) * i / (num_timesteps - 1) for i in range(num_timesteps)]


def cosine_betas(num_timesteps: int, offset: float = 0.008) -> list[float]:
    """Betas of alpha_bar = cos^2, clipped at 0.999, which cuts only the last one [P1 Eq. 17; playbook 2.9]."""

    def alpha_bar(fraction: float) -> float:
        return math.cos((fraction + offset) / (1 + offset) * math.pi / 2) ** 2

    ends = [alpha_bar(i / num_timesteps) for i in range(num_timesteps + 1)]
    return [min(1 - after / before, 0.999) for before, after in pairwise(ends)]


SCHEDULES = {"linear": linear_betas, "cosine": cosine_betas}


@lru_cache(maxsize=64)
def alpha_bars(schedule: ScheduleName, num_timesteps: int) -> tuple[float, ...]:
    """alpha_bar_t for t = 0 .. T-1, falling from about 1 to about 0."""
    return tuple(accumulate((1 - beta for beta in SCHEDULES[schedule](num_timesteps)), mul))


@lru_cache(maxsize=64)
def vp_sigmas(schedule: ScheduleName, num_timesteps: int) -> tuple[float, ...]:
    """EDM noise level sqrt((1 - alpha_bar) / alpha_bar) of every timestep, rising."""
    return tuple(math.sqrt((1 - a) / a) for a in alpha_bars(schedule, num_timesteps))
