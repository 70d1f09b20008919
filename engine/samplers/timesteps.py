"""The rules that choose which timesteps of a chain a sampler visits: rising, distinct, 0 .. T - 1.

Papers and code bases differ here, and so do their results: each rule is named after the source that uses it.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Literal


def linear(num_steps: int, num_timesteps: int) -> list[int]:
    """floor(c i) with c chosen so that the last one is T - 1 [P2 D.2; playbook A.7]."""
    return _floor_of_power(num_steps, num_timesteps, 1)


def quadratic(num_steps: int, num_timesteps: int) -> list[int]:
    """floor(c i^2) with c chosen so that the last one is T - 1; many steps repeat timestep 0 [P2 D.2;
    playbook A.7]."""
    return _floor_of_power(num_steps, num_timesteps, 2)


def released_linear(num_steps: int, num_timesteps: int) -> list[int]:
    """0, k, 2k, ... below T with k = floor(T / S) [P2 code; diffusers' "leading"].

    It starts k timesteps before the noisiest, and visits more than S timesteps unless k S >= T.
    """
    return list(range(0, num_timesteps, num_timesteps // num_steps))


def released_quadratic(num_steps: int, num_timesteps: int) -> list[int]:
    """Squares, rounded down, of S even steps from 0 to sqrt(0.8 T) [P2 code].

    It starts at 0.8 T, and repeats timesteps near 0 at 50 steps of 1000 and more.
    """
    last = math.sqrt(0.8 * num_timesteps)
    stride = last / max(num_steps - 1, 1)
    roots = [i * stride for i in range(num_steps - 1)] + [last if num_steps > 1 else 0.0]
    return [int(root**2) for root in roots]


def even(num_steps: int, num_timesteps: int) -> list[int]:
    """0 to T - 1 evenly, each rounded to the nearest, halves to even [P1 code].

    P6's code counts timesteps from 1, so that its halves round to odd here: at T = 1000 it differs by one
    timestep in one place at 3 and 5 steps and in three places at 25.
    """
    stride, position, chosen = (num_timesteps - 1) / max(num_steps - 1, 1), 0.0, []
    for _ in range(num_steps):
        chosen.append(round(position))
        position += stride
    return chosen


def trailing(num_steps: int, num_timesteps: int) -> list[int]:
    """T, T - T / S, ..., T / S, each rounded, halves to even, and less 1 [Lin et al. 2024, Table 2;
    diffusers].

    So the last step, to x0, is as long as the others.
    """
    return [round(num_timesteps - i * num_timesteps / num_steps) - 1 for i in range(num_steps)]


TAU_RULES: dict[str, Callable[[int, int], list[int]]] = {
    "linear": linear,
    "quadratic": quadratic,
    "released_linear": released_linear,
    "released_quadratic": released_quadratic,
    "even": even,
    "trailing": trailing,
}
"""(num_steps S, num_timesteps T) -> timesteps, in any order and as often as the rule names them."""

if TYPE_CHECKING:
    TauName = str
else:
    TauName = Literal[tuple(TAU_RULES)]
"""linear, quadratic: P2's paper; released_*: P2's code; even: P1's code; trailing: Lin et al. 2024."""


@lru_cache(maxsize=512)
def timesteps(tau: TauName, num_steps: int, num_timesteps: int) -> tuple[int, ...]:
    """The timesteps a rule visits, rising and each once: a repeated one would be a step that goes nowhere.

    Raises ValueError when there are more steps than timesteps, or when a rule's only timestep is 0, where
    pure noise cannot start.
    """
    if num_steps > num_timesteps:
        raise ValueError(f"num_steps {num_steps} exceeds num_timesteps {num_timesteps}")
    chosen = tuple(sorted(set(TAU_RULES[tau](num_steps, num_timesteps))))
    if chosen == (0,):
        raise ValueError(
            f"tau {tau} with num_steps {num_steps} visits timestep 0 alone: use linear or trailing"
        )
    return chosen


def _floor_of_power(num_steps: int, num_timesteps: int, power: int) -> list[int]:
    if num_steps == 1:
        return [num_timesteps - 1]
    return [(num_timesteps - 1) * i**power // (num_steps - 1) ** power for i in range(num_steps)]
