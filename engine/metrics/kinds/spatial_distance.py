"""sFID: the Frechet distance of features that keep places
in the image apart [Nash et al. 2021; ADM's evaluator]."""

from collections.abc import Iterator, Mapping

from engine.conflicts import ConfigConflict
from engine.metrics.base import Cell, ExperimentView, Metric, ProtocolView
from engine.metrics.extractors.registry import EXTRACTORS
from engine.metrics.names import counted_label, score_name
from engine.records.metric_facts import MetricFacts

PUBLISHED = "sfid"
SHORT = "sfd"


class SpatialDistance(Metric):
    """Asked for as `sfid`: that is its name with Inception's published weights and
    50,000 images or more, otherwise the count or the extractor is in its name."""

    name = PUBLISHED
    position = 26
    facts = ()

    def measured_in(self, experiment: ExperimentView) -> tuple[str, ...]:
        """One distance."""
        rule = experiment.eval
        asked = self.name in rule.metrics
        return (score_name(PUBLISHED, SHORT, rule.extractor, rule.num_samples),) if asked else ()

    def needs(self, protocol: ProtocolView, num_real: int) -> Iterator[ConfigConflict]:
        """An extractor that has such features. Too few images for their covariance are no conflict:
        as of FID, the number is then biased, and its name says how many there were."""
        if not EXTRACTORS[protocol.extractor].spatial_dims:
            able = ", ".join(name for name, one in EXTRACTORS.items() if one.spatial_dims)
            reason = f"sfid reads spatial features, which {able} has and {protocol.extractor} has not"
            yield ("eval.metrics", "eval.extractor"), reason

    def facts_of(self, metric: str) -> MetricFacts | None:
        """The distance, by whichever count or extractor it is named."""
        if metric != PUBLISHED and not metric.startswith((f"{PUBLISHED}_", f"{SHORT}_")):
            return None
        label = counted_label("sFID", metric, PUBLISHED)
        return MetricFacts(metric, label, "lower", group="score", per_image_count=True)

    def measure(self, cell: Cell) -> Mapping[str, float]:
        """Against the whole training set, whose statistics are worked out once."""
        from engine.metrics.frechet import FeatureStats, frechet_distance

        spatial = cell.extractor.spatial
        assert spatial is not None, "asked of features without places"
        real = cell.reference.gaussian_in(
            "spatial", lambda: FeatureStats.of(spatial(cell.real_images("train").images))
        )
        generated = FeatureStats.of(spatial(cell.images)).gaussian
        name = score_name(PUBLISHED, SHORT, cell.extractor.name, len(cell.images))
        return {name: frechet_distance(real, generated)}


SPATIAL_DISTANCE = SpatialDistance()
