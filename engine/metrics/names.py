"""What a Frechet distance may be called, and how many images it needs. Imports no torch, so plans can ask."""

from engine.metrics.extractors.registry import EXTRACTORS
from engine.records.protocol import FULL_SAMPLES


def distance_name(extractor_name: str, num_samples: int) -> str:
    """`fid` for Inception features of at least 50,000 samples; anything else is `fd_<extractor>`.

    An extractor whose weights are not the published ones has a name of its own, which is no kind's.
    """
    kind = EXTRACTORS.get(extractor_name)
    if kind is not None and kind.published_distance and num_samples >= FULL_SAMPLES:
        return kind.published_distance
    return f"fd_{extractor_name}"


def score_name(published: str, short: str, extractor_name: str, num_samples: int | None) -> str:
    """What a number that papers take of Inception may be called, such as sFID.

    The `published` name with Inception's published weights; with another count of images than the
    papers' 50,000 or more, that count is part of it (`num_samples` None where the number does not
    depend on the count). Under other features it is `<short>_<extractor>`: `kd_classifier`.
    """
    kind = EXTRACTORS.get(extractor_name)
    if kind is None or not kind.published_distance:
        return f"{short}_{extractor_name}"
    if num_samples is None or num_samples >= FULL_SAMPLES:
        return published
    return f"{published}_{num_samples}"


def counted_label(label: str, metric: str, published: str) -> str:
    """A label for a metric by its name: the published one, with the count of
    images that the name has, or else the name itself, which says the features."""
    if metric == published:
        return label
    count = metric.removeprefix(f"{published}_")
    return f"{label}, {int(count):,} images" if count.isdigit() else metric


def lacks_rank(count: int, dims: int) -> bool:
    """Whether there are too few vectors (N <= d) for a covariance of full rank;
    distances are then biased upwards."""
    return count <= dims
