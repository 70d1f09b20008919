"""The Inception score: sharp and varied classes of generated images [Salimans et al. 2016]."""

from collections.abc import Iterator, Mapping

from engine.conflicts import ConfigConflict
from engine.metrics.base import Cell, ExperimentView, Metric, ProtocolView
from engine.metrics.extractors.registry import EXTRACTORS
from engine.metrics.names import counted_label, score_name
from engine.records.metric_facts import MetricFacts

PUBLISHED = "inception_score"
SHORT = "is"
FEWEST = 10
"""Images that ten splits need at least."""


class InceptionScore(Metric):
    """Asked for as `is`. `inception_score` with Inception's published weights and 50,000 images
    or more, otherwise with the count or the extractor in its name. Real images play no part."""

    name = SHORT
    position = 22
    facts = ()

    def measured_in(self, experiment: ExperimentView) -> tuple[str, ...]:
        """The score and how far its splits differ."""
        rule = experiment.eval
        if self.name not in rule.metrics:
            return ()
        score = score_name(PUBLISHED, SHORT, rule.extractor, rule.num_samples)
        return (score, f"{score}_std")

    def needs(self, protocol: ProtocolView, num_real: int) -> Iterator[ConfigConflict]:
        """An extractor whose network tells classes apart, and an image a split."""
        kind = EXTRACTORS[protocol.extractor]
        if not kind.num_classes:
            able = ", ".join(name for name, one in EXTRACTORS.items() if one.num_classes)
            reason = f"is scores the classes that {able} tells apart; {protocol.extractor} has none"
            yield ("eval.metrics", "eval.extractor"), reason
        if protocol.num_samples < FEWEST:
            reason = f"is takes {FEWEST} splits of the images; eval.num_samples is {protocol.num_samples}"
            yield ("eval.num_samples", "eval.metrics"), reason

    def facts_of(self, metric: str) -> MetricFacts | None:
        """The score, by whichever count or extractor it is named, and its spread."""
        score = metric.removesuffix("_std")
        if score != PUBLISHED and not score.startswith((f"{PUBLISHED}_", f"{SHORT}_")):
            return None
        label = counted_label("Inception score", score, PUBLISHED)
        if score != metric:
            return MetricFacts(metric, f"{label}, std of splits", "neither", group="score")
        return MetricFacts(metric, label, "higher", group="score", per_image_count=True)

    def measure(self, cell: Cell) -> Mapping[str, float]:
        """Mean and standard deviation over ten splits."""
        from engine.metrics.scores import inception_score

        assert cell.extractor.logits is not None, "asked of features without classes"
        found = inception_score(cell.extractor.logits(cell.features))
        score = score_name(PUBLISHED, SHORT, cell.extractor.name, len(cell.images))
        return {score: found.mean, f"{score}_std": found.std}


INCEPTION_SCORE = InceptionScore()
