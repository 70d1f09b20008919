"""A researcher's view of the long table: trainings under samplers, seeds folded into estimates."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from engine.records.metric_facts import MetricFacts, is_distance
from reports.formatting import sentence
from reports.read import ranking
from reports.read.configuration import Configuration
from reports.read.stats import Estimate, seeds_label
from reports.read.sweep import SweepResults


@dataclass(frozen=True)
class Overview:
    """A sweep's configurations in grid order: trainings by their axes, samplers by NFE."""

    sweep: SweepResults
    distance: str
    """Name of the metric that quality is judged by, exactly as measured."""
    configurations: tuple[Configuration, ...]
    varied: Mapping[str, tuple[Any, ...]]
    """Field -> its distinct values over the grid, for the fields that vary; seeds excluded."""
    trained_axes: frozenset[str]
    """Fields whose values make another training; averages of weights and samplers do not."""

    def facts(self, metric: str) -> MetricFacts:
        """How a metric is shown: as the manifest says, and of an unknown one no end is better."""
        known = self.sweep.manifest.metrics.get(metric)
        if known is not None:
            return known
        return MetricFacts(metric, metric, "lower" if is_distance(metric) else "neither")

    @cached_property
    def trainings(self) -> tuple[str, ...]:
        """Labels of the sampled weights, in order: of trainings, and of averages where those vary."""
        return tuple(dict.fromkeys(one.training for one in self.configurations))

    @cached_property
    def trained(self) -> tuple[str, ...]:
        """Labels of the trainings alone, in order: ten averages of one training are one of them."""
        return tuple(dict.fromkeys(one.trained for one in self.configurations))

    @cached_property
    def trained_fields(self) -> tuple[str, ...]:
        """Varied fields that make another training."""
        return tuple(field for field in self.varied if field in self.trained_axes)

    @cached_property
    def samplers(self) -> tuple[str, ...]:
        """Labels of the samplers, by NFE."""
        return tuple(dict.fromkeys(one.sampler_label for one in ranking.by_nfe(self.configurations)))

    @cached_property
    def reference_sampler(self) -> str:
        """Label of the sampler that trainings are compared at."""
        return ranking.reference_sampler(self.configurations)

    @cached_property
    def at_reference(self) -> dict[str, Configuration]:
        """Training label -> its configuration at the reference sampler."""
        label = self.reference_sampler
        return {one.training: one for one in self.configurations if one.sampler_label == label}

    @cached_property
    def best(self) -> Configuration | None:
        """The configuration with the lowest mean distance."""
        return ranking.best_of(self.configurations, self.distance)

    def baseline(self, one: Configuration) -> Configuration | None:
        """The deterministic configuration of the same training and NFE, Heun's first; None without one."""
        return self._baselines.get((one.training, one.nfe))

    @cached_property
    def _baselines(self) -> ranking.Baselines:
        return ranking.baselines(self.configurations)

    @cached_property
    def seeds(self) -> tuple[int, int]:
        """Fewest and most training seeds behind a distance."""
        return min(one.seeds for one in self._distances), max(one.seeds for one in self._distances)

    @cached_property
    def samplings(self) -> int:
        """Most sampling seeds of a training."""
        return max(one.samplings for one in self._distances)

    @cached_property
    def _distances(self) -> list[Estimate]:
        return [one.metrics[self.distance] for one in self.configurations if self.distance in one.metrics]

    @cached_property
    def seeds_label(self) -> str:
        """What the spread of this sweep's numbers says, as a sentence."""
        fewest, most = self.seeds
        if fewest < most:
            return (
                f"Means over {fewest} to {most} training seeds, "
                "with a 95% interval [low, high] from three on."
            )
        return sentence(seeds_label(most, self.samplings))
