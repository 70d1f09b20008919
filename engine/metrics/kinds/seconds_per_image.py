"""How long generating an image took; of a shared run, the part that this cell added."""

from collections.abc import Mapping

from engine.metrics.base import Cell, ExperimentView, Metric
from engine.records.metric_facts import MetricFacts


class SecondsPerImage(Metric):
    """Measured in every cell. It depends on the machine, and is no part of any comparison of quality."""

    name = "seconds_per_image"
    position = 30
    facts = (MetricFacts(name, "ms / image", "lower", unit="s", group="cost", scale=1000.0),)
    on_request = False

    def measured_in(self, experiment: ExperimentView) -> tuple[str, ...]:
        """Always."""
        return (self.name,)

    def measure(self, cell: Cell) -> Mapping[str, float]:
        """Seconds of generating, over the images."""
        return {self.name: cell.seconds / len(cell.images)}


SECONDS_PER_IMAGE = SecondsPerImage()
