"""Variance-preserving schedules: the cumulative product
alpha_bar of each of T discrete timesteps, in float64."""

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate, pairwise
from operator import mul
from typing import TYPE_CHECKING, Literal

NoiseRange = tuple[float, float]
"""The lowest and the highest of some noise levels."""

TERMINAL_SIGMA = 2.0**27
"""Stands for an infinite noise level, at which alpha_bar is 0:
single precision sees no trace of x0 / sigma there."""


def linear_betas(num_timesteps: int) -> list[float]:
    """Betas evenly spaced from 1e-4 to 0.02 at T = 1000, scaled
    by 1000 / T otherwise [P1 2.1, code; playbook 2.9]."""
    low, high = _scaled(num_timesteps, 1e-4, 0.02)
    return _evenly(low, high, num_timesteps)


def scaled_linear_betas(num_timesteps: int) -> list[float]:
    """Betas whose square roots are evenly spaced, from 0.00085 to 0.012 at T = 1000:
    latent diffusion's schedule."""
    low, high = _scaled(num_timesteps, 0.00085, 0.012)
    return [root**2 for root in _evenly(math.sqrt(low), math.sqrt(high), num_timesteps)]


def cosine_betas(num_timesteps: int, offset: float = 0.008) -> list[float]:
    """Betas of alpha_bar = cos^2, clipped at 0.999, which
    cuts only the last one [P1 Eq. 17; playbook 2.9]."""

    def alpha_bar(fraction: float) -> float:
        return math.cos((fraction + offset) / (1 + offset) * math.pi / 2) ** 2

    ends = [alpha_bar(i / num_timesteps) for i in range(num_timesteps + 1)]
    return [min(1 - after / before, 0.999) for before, after in pairwise(ends)]


def exponential_betas(num_timesteps: int) -> list[float]:
    """Betas that grow geometrically from 1e-4 to 0.02 at T = 1000 [playbook 2.9].

    They leave alpha_bar_T = 0.023, far from pure noise: sampling then starts from what training never showed,
    unless the schedule is rescaled to zero terminal SNR.
    """
    low, high = _scaled(num_timesteps, 1e-4, 0.02)
    return [math.exp(log_beta) for log_beta in _evenly(math.log(low), math.log(high), num_timesteps)]


def sigmoid_betas(num_timesteps: int) -> list[float]:
    """Betas that follow a sigmoid over [-6, 6], from 1e-4 to 0.02 at T = 1000 (GeoDiff's schedule)."""
    low, high = _scaled(num_timesteps, 1e-4, 0.02)
    return [low + (high - low) / (1 + math.exp(-z)) for z in _evenly(-6.0, 6.0, num_timesteps)]


SCHEDULES: dict[str, Callable[[int], list[float]]] = {
    "linear": linear_betas,
    "scaled_linear": scaled_linear_betas,
    "cosine": cosine_betas,
    "exponential": exponential_betas,
    "sigmoid": sigmoid_betas,
}
"""Betas of each schedule for a given T. A beta reaches 1 where T is so small that the scaled ends pass it."""

if TYPE_CHECKING:
    ScheduleName = str
else:
    ScheduleName = Literal[tuple(SCHEDULES)]
"""A field's type: the name of a schedule."""


@lru_cache(maxsize=64)
def alpha_bars(
    schedule: ScheduleName, num_timesteps: int, zero_terminal_snr: bool = False
) -> tuple[float, ...]:
    """alpha_bar_t for t = 0 .. T-1, falling from about 1 to about 0, or to exactly 0 with
    `zero_terminal_snr`."""
    table = tuple(accumulate((1 - min(beta, 0.999) for beta in SCHEDULES[schedule](num_timesteps)), mul))
    return rescale_to_zero_terminal_snr(table) if zero_terminal_snr else table


def rescale_to_zero_terminal_snr(table: tuple[float, ...]) -> tuple[float, ...]:
    """Shift and stretch sqrt(alpha_bar) so that the last is 0 and the first stays [Lin et al. 2024, Alg. 1].

    The formula in the seeds, beta' = beta (1 - alpha_bar_1) / (1 - alpha_bar_T), is not this: it leaves
    almost no noise at the end (alpha_bar_T = 0.999 for the linear schedule).
    """
    roots = [math.sqrt(value) for value in table]
    first, last = roots[0], roots[-1]
    return tuple(((root - last) * first / (first - last)) ** 2 for root in roots)


@lru_cache(maxsize=64)
def vp_sigmas(
    schedule: ScheduleName, num_timesteps: int, zero_terminal_snr: bool = False
) -> tuple[float, ...]:
    """EDM noise level sqrt((1 - alpha_bar) / alpha_bar) of every timestep, rising;
    TERMINAL_SIGMA where it is infinite.

    A model trained with them is sampled at them: `sigma` is the coordinate every process shares.
    """
    return tuple(map(sigma_of, alpha_bars(schedule, num_timesteps, zero_terminal_snr)))


def sigma_of(alpha_bar: float) -> float:
    """EDM noise level of x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps, at most TERMINAL_SIGMA."""
    return min(math.sqrt((1 - alpha_bar) / alpha_bar), TERMINAL_SIGMA) if alpha_bar > 0 else TERMINAL_SIGMA


def _scaled(num_timesteps: int, low: float, high: float) -> tuple[float, float]:
    return 1000 / num_timesteps * low, 1000 / num_timesteps * high


def _evenly(low: float, high: float, count: int) -> list[float]:
    return [low + (high - low) * i / (count - 1) for i in range(count)]
