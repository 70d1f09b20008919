"""The rules that choose which timesteps of a chain a sampler visits: rising, distinct, 0 .. T - 1.

Papers and code bases differ here, and so do their results: each rule is named after the source that uses it.
"""

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal


def linear(num_steps: int, num_timesteps: int) -> list[int]:
    """floor(c i) with c chosen so that the last one is T - 1 [P2 D.2; playbook A.7]."""
    return _floor_of_power(num_steps, num_timesteps, 1)


def quadratic(num_steps: int, num_timesteps: int) -> list[int]:
    """floor(c i^2) with c chosen so that the last one is T - 1;
    many steps repeat timestep 0 [P2 D.2; playbook A.7]."""
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
    """0 to T - 1 evenly, each rounded to the nearest, halves to even [P1 code, a single section; DiT].

    Strides are added up as P1's code does, whose rounding errors decide on which side a half falls.
    """
    return _rounded_strides(0, num_steps, num_timesteps)


def even_one_based(num_steps: int, num_timesteps: int) -> list[int]:
    """1 to T evenly, each rounded to the nearest, halves to
    even, and less 1 [P6 code and Analytic-DPM's, `linear`].

    Halves fall on the other side than in `even`:
    at T = 1000 three of 25 timesteps differ by one, and 58 of all numbers of steps are affected.
    """
    return [position - 1 for position in _rounded_strides(1, num_steps, num_timesteps)]


def strided(num_steps: int, num_timesteps: int) -> list[int]:
    """0, k, 2k, ... below T with the smallest k that makes S timesteps [P1 code, `ddimS`; ADM; DiT].

    Raises ValueError where no k does, such as for 60 timesteps of 1000.
    """
    for stride in range(1, num_timesteps):
        visited = range(0, num_timesteps, stride)
        if len(visited) == num_steps:
            return list(visited)
    raise ValueError(f"tau strided: no stride visits {num_steps} of {num_timesteps} timesteps")


def trailing(num_steps: int, num_timesteps: int) -> list[int]:
    """T, T - T / S, ..., T / S, each rounded, halves to even,
    and less 1 [Lin et al. 2024, Table 2; diffusers].

    So the last step, to x0, is as long as the others.
    """
    return [round(num_timesteps - i * num_timesteps / num_steps) - 1 for i in range(num_steps)]


TAU_RULES: dict[str, Callable[[int, int], list[int]]] = {
    "linear": linear,
    "quadratic": quadratic,
    "released_linear": released_linear,
    "released_quadratic": released_quadratic,
    "even": even,
    "even_one_based": even_one_based,
    "strided": strided,
    "trailing": trailing,
}
"""(num_steps S, num_timesteps T) -> timesteps, in any order and as often as the rule names them."""

SECTIONS = "sections"
LISTED = "listed"
"""Rules that need more than two numbers: steps of each section of the chain, or the timesteps themselves."""

if TYPE_CHECKING:
    TauName = str
else:
    TauName = Literal[(*TAU_RULES, SECTIONS, LISTED)]
"""linear, quadratic: P2's paper; released_*: P2's code; even, strided, sections: P1's code;
even_one_based: P6's and Analytic-DPM's code; trailing: Lin et al. 2024; listed: one's own."""


@lru_cache(maxsize=512)
def timesteps(tau: TauName, num_steps: int, num_timesteps: int) -> tuple[int, ...]:
    """The timesteps a rule visits, rising and each once: a repeated one would be a step that goes nowhere.

    Raises ValueError when there are more steps than timesteps, or when a rule's only timestep is 0, where
    pure noise cannot start.
    """
    if num_steps > num_timesteps:
        raise ValueError(f"num_steps {num_steps} exceeds num_timesteps {num_timesteps}")
    return distinct(tau, TAU_RULES[tau](num_steps, num_timesteps))


def distinct(tau: TauName, visited: Iterable[int]) -> tuple[int, ...]:
    """What a rule names, rising and each once. ValueError when that is timestep 0 alone."""
    chosen = tuple(sorted(set(visited)))
    if chosen == (0,):
        raise ValueError(f"tau {tau} with num_steps 1 visits timestep 0 alone: use linear or trailing")
    return chosen


@lru_cache(maxsize=512)
def section_timesteps(counts: tuple[int, ...], num_timesteps: int) -> tuple[int, ...]:
    """Timesteps of a chain cut into as many equal sections as there are counts, noisiest last [P1 code].

    Each section is walked evenly from its first to its last timestep, a single step being
    at the first; the first sections are one timestep longer where T does not divide evenly.
    So "10,15,20" of P1's scripts spends 20 steps on the noisiest third. Counts are at least
    1. Raises ValueError for a section of fewer timesteps than its count, and as `distinct`.
    """
    size, longer = divmod(num_timesteps, len(counts))
    start = 0
    visited: list[int] = []
    for number, count in enumerate(counts):
        length = size + (number < longer)
        if count > length:
            raise ValueError(f"sections: {count} steps do not fit in a section of {length} timesteps")
        visited += [start + position for position in even(count, length)]
        start += length
    return distinct(SECTIONS, visited)


def written_numbers(written: object) -> object:
    """Numbers in a text, as P1's scripts write them ("10,15,20"), as a list; anything else as it is.

    A panel of a grid multiplies lists, so that there a text is the only way.
    ValueError for P1's `ddimN`, which is a rule of its own.
    """
    if not isinstance(written, str):
        return written
    if written.startswith("ddim"):
        raise ValueError(f"{written!r} is tau strided with num_steps {written.removeprefix('ddim')}")
    try:
        return [int(number) for number in written.split(",")]
    except ValueError:
        raise ValueError(f"{written!r} is no list of numbers such as 10,15,20") from None


def listed_timesteps(visited: tuple[int, ...], num_timesteps: int) -> tuple[int, ...]:
    """The timesteps that a list names. ValueError unless they rise within 0 .. T - 1, and as `distinct`."""
    if any(later <= earlier for earlier, later in pairwise(visited)):
        raise ValueError("visit: list timesteps rising, each once")
    if visited[0] < 0 or visited[-1] >= num_timesteps:
        raise ValueError(f"visit: timesteps lie within 0 .. {num_timesteps - 1}")
    return distinct(LISTED, visited)


def _rounded_strides(start: int, num_steps: int, num_timesteps: int) -> list[int]:
    """Even strides from `start` on over T - 1 timesteps, each position rounded, halves to even."""
    stride = (num_timesteps - 1) / max(num_steps - 1, 1)
    position = float(start)
    chosen = []
    for _ in range(num_steps):
        chosen.append(round(position))
        position += stride
    return chosen


def _floor_of_power(num_steps: int, num_timesteps: int, power: int) -> list[int]:
    if num_steps == 1:
        return [num_timesteps - 1]
    return [(num_timesteps - 1) * i**power // (num_steps - 1) ** power for i in range(num_steps)]


def step_count_reasons(tau: TauName, asked: int, visited: int, shown: int) -> tuple[str, ...]:
    """Why `asked` steps visit `visited` of the `shown` timesteps, in words, where these are not as many."""
    if visited < asked:
        return (f"tau repeats timesteps near 0: {asked} steps visit {visited} timesteps",)
    if visited > asked:  # released_linear alone
        stride = shown // asked
        return (f"tau takes all timesteps {stride} apart: {asked} steps visit {visited} timesteps",)
    if asked <= 2 and tau in ("linear", "quadratic", "even"):
        return ("one or two steps visit the same timesteps under tau linear, quadratic and even",)
    return ()
