"""Share of its FLOPs that a network executes which decides what to skip [P5]."""

from collections.abc import Mapping

from engine.metrics.base import Cell, ExperimentView, Metric
from engine.records.metric_facts import MetricFacts


class FlopsRatio(Metric):
    """Measured of every network that may skip something."""

    name = "flops_ratio"
    position = 50
    facts = (MetricFacts(name, "executed FLOPs", "lower", group="cost"),)
    on_request = False
    # What is sampled once more, to watch it, counts as sampling.
    counts_as_sampling = True

    def measured_in(self, experiment: ExperimentView) -> tuple[str, ...]:
        """Of networks that decide what to execute."""
        return (self.name,) if experiment.model.executes_part else ()

    def measure(self, cell: Cell) -> Mapping[str, float]:
        """The share over all network evaluations of the first batch, which is sampled once more."""
        return {self.name: cell.executed_share()}

    def executed_share(self, values: Mapping[str, float]) -> float | None:
        """The share itself, where it was measured."""
        return values.get(self.name)


FLOPS_RATIO = FlopsRatio()
