"""How generated and real images overlap in a feature space.

Precision and recall [Kynkäänniemi et al. 2019], density and
coverage [Naeem et al. 2020], from one table of distances.
"""

from collections.abc import Mapping

from engine.metrics.base import Cell, ExperimentView, Metric
from engine.records.metric_facts import MetricFacts


class Overlap(Metric):
    """Measured in every cell, with the protocol's `nearest_k`."""

    name = "overlap"
    position = 20
    facts = tuple(
        MetricFacts(name, name, "higher", group="overlap", per_image_count=True)
        for name in ("precision", "recall", "density", "coverage")
    )
    on_request = False

    def measured_in(self, experiment: ExperimentView) -> tuple[str, ...]:
        """All four, always."""
        return tuple(fact.name for fact in self.facts)

    def measure(self, cell: Cell) -> Mapping[str, float]:
        """All four; ValueError for no more images than neighbours."""
        from engine.metrics.precision_recall import Manifold, overlap

        k = cell.experiment.eval.nearest_k
        generated = Manifold.of(cell.features, k)
        return overlap(cell.reference.manifold(k), generated)._asdict()


OVERLAP = Overlap()
