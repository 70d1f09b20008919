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


def lacks_rank(count: int, dims: int) -> bool:
    """Whether there are too few vectors (N <= d) for a covariance of full rank; distances are then biased
    upwards."""
    return count <= dims
