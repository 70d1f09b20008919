"""The Frechet distance between generated and real images in a feature space [Heusel et al. 2017]."""

from collections.abc import Mapping

from engine.metrics.base import Cell, ExperimentView, Metric
from engine.metrics.names import distance_name
from engine.records.metric_facts import MetricFacts, is_distance


class Distance(Metric):
    """`fid` under the published protocol, `fd_<extractor>` otherwise: the name tells the truth."""

    name = "distance"
    position = 10
    facts = ()
    on_request = False

    def measured_in(self, experiment: ExperimentView) -> tuple[str, ...]:
        """One distance, in every cell."""
        return (distance_name(experiment.eval.extractor, experiment.eval.num_samples),)

    def facts_of(self, metric: str) -> MetricFacts | None:
        """A distance is called exactly what its column is called, whichever extractor it is of."""
        if not is_distance(metric):
            return None
        return MetricFacts(metric, metric, "lower", group="distance", per_image_count=True)

    def measure(self, cell: Cell) -> Mapping[str, float]:
        """The distance of all images, under the name of the extractor that was really used."""
        from engine.metrics.frechet import FeatureStats, frechet_distance

        generated = FeatureStats.of(cell.features).gaussian
        return {_name(cell): frechet_distance(cell.reference.gaussian, generated)}

    def left_out(self, cell: Cell) -> Mapping[str, tuple[float, ...]]:
        """Distances without each block of images;
        none where there are too few images or dimensions too many."""
        from engine.metrics.jackknife import leave_one_out

        values = leave_one_out(cell.reference.gaussian, cell.features)
        return {_name(cell): values} if values else {}


def _name(cell: Cell) -> str:
    # The extractor's own name: weights that are not the published ones must not give a `fid`.
    return distance_name(cell.extractor.name, len(cell.images))


DISTANCE = Distance()
