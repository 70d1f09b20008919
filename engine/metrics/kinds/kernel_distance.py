"""The kernel distance, of Inception features KID:
a distance whose estimate is unbiased at any number of images [Bińkowski et al. 2018]."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from engine.conflicts import ConfigConflict
from engine.metrics.base import Cell, ExperimentView, Metric, ProtocolView
from engine.metrics.names import counted_label, score_name
from engine.records.metric_facts import MetricFacts

if TYPE_CHECKING:
    from torch import Tensor

PUBLISHED = "kid"
SHORT = "kd"
FEWEST = 1_000
"""Images of a subset, which there must be of both kinds."""


class KernelDistance(Metric):
    """Asked for as `kid`: that is its name with Inception's published weights, otherwise `kd_<extractor>`."""

    name = PUBLISHED
    position = 24
    facts = ()

    def measured_in(self, experiment: ExperimentView) -> tuple[str, ...]:
        """The distance and how far its subsets differ."""
        rule = experiment.eval
        if self.name not in rule.metrics:
            return ()
        distance = score_name(PUBLISHED, SHORT, rule.extractor, None)
        return (distance, f"{distance}_std")

    def needs(self, protocol: ProtocolView, num_real: int) -> Iterator[ConfigConflict]:
        """As many generated and real images as a subset has."""
        if protocol.num_samples < FEWEST:
            reason = (
                f"kid compares subsets of {FEWEST:,} images; eval.num_samples is {protocol.num_samples:,}"
            )
            yield ("eval.num_samples", "eval.metrics"), reason
        if num_real < FEWEST:
            reason = f"kid compares subsets of {FEWEST:,} images; the data set has {num_real:,}"
            yield ("eval.metrics", "data.name"), reason

    def facts_of(self, metric: str) -> MetricFacts | None:
        """The distance under any extractor, and its spread."""
        distance = metric.removesuffix("_std")
        if distance != PUBLISHED and not distance.startswith(f"{SHORT}_"):
            return None
        label = counted_label("KID", distance, PUBLISHED)
        if distance != metric:
            return MetricFacts(metric, f"{label}, std of subsets", "neither", group="score")
        return MetricFacts(metric, label, "lower", group="score")

    def measure(self, cell: Cell) -> Mapping[str, float]:
        """Mean and standard deviation over a hundred pairs of subsets of 1,000 images."""
        from engine.metrics.scores import kernel_distance, subset_indices

        images = cell.real_images("train").images
        ours, theirs = subset_indices(len(cell.features), len(images))
        used, places = theirs.unique(return_inverse=True)
        found = kernel_distance(cell.features, _real_features(cell, images, used), (ours, places))
        distance = score_name(PUBLISHED, SHORT, cell.extractor.name, None)
        return {distance: found.mean, f"{distance}_std": found.std}


def _real_features(cell: Cell, images: "Tensor", used: "Tensor") -> "Tensor":
    """Features of the real images that some subset has. Of a small set the reference keeps all of them."""
    if len(cell.reference.features) == len(images):
        return cell.reference.features[used]
    # Which ones are used depends on the number of generated images alone.
    return cell.reference.part(f"kid_{len(cell.features)}", lambda: cell.extractor(images[used]))


KERNEL_DISTANCE = KernelDistance()
