"""Which configuration is best, what it is held against, and under which sampler trainings are compared."""

from collections.abc import Iterable, Sequence

from reports.read.configuration import Configuration
from reports.read.stats import best

Baselines = dict[tuple[str, int], Configuration]
"""(training, NFE) -> the deterministic configuration that stochastic ones of that cost are held against."""


def by_nfe(configurations: Iterable[Configuration]) -> list[Configuration]:
    """Configurations by cost; deterministic ones before stochastic ones of the same cost."""
    return sorted(configurations, key=lambda one: (one.nfe, not one.deterministic))


def best_of(configurations: Sequence[Configuration], distance: str) -> Configuration | None:
    """The configuration with the lowest mean distance, or None when none was measured."""
    measured = {
        number: one.metrics[distance] for number, one in enumerate(configurations) if distance in one.metrics
    }
    winner = best(measured, "lower")
    return None if winner is None else configurations[winner]


def reference_sampler(configurations: Iterable[Configuration]) -> str:
    """Label of the sampler that trainings are compared at: the one most of them have; then deterministic,
    Heun, highest NFE."""
    covered: dict[str, list[Configuration]] = {}
    for one in configurations:
        covered.setdefault(one.sampler_label, []).append(one)

    def rank(label: str) -> tuple[int, bool, bool, int]:
        one = covered[label][0]
        return len(covered[label]), one.deterministic, one.family == "Heun", one.nfe

    deterministic = [label for label in covered if covered[label][0].deterministic]
    return max(deterministic or covered, key=rank)


def baselines(configurations: Iterable[Configuration]) -> Baselines:
    """The deterministic configuration of each training and NFE, Heun's before others."""
    chosen: Baselines = {}
    for one in configurations:
        if not one.deterministic:
            continue
        place = (one.training, one.nfe)
        before = chosen.get(place)
        if before is None or (one.family == "Heun" and before.family != "Heun"):
            chosen[place] = one
    return chosen
