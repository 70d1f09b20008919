"""A metric: how bright generated images are."""

from collections.abc import Mapping

from engine.metrics.base import Cell, Metric
from engine.records.metric_facts import MetricFacts


class MeanGrey(Metric):
    """The mean of all pixels, 0 to 255; it describes, and no value is better."""

    name = "mean_grey"
    facts = (MetricFacts(name, "mean grey", "neither", group="brightness"),)

    def measure(self, cell: Cell) -> Mapping[str, float]:
        """One number over all images."""
        return {self.name: float(cell.images.double().mean())}


MEAN_GREY = MeanGrey()
