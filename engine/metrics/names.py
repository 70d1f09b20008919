"""What a Frechet distance may be called, and how many images it needs. Imports no torch, so plans can ask."""

from engine.records.protocol import FULL_SAMPLES

FEATURE_DIMS = {"classifier": 64, "inception": 2048, "pixels": 64}
"""Size of each extractor's feature vector."""


def distance_name(extractor_name: str, num_samples: int) -> str:
    """`fid` for Inception features of at least 50,000 samples; anything else is `fd_<extractor>`."""
    return "fid" if extractor_name == "inception" and num_samples >= FULL_SAMPLES else f"fd_{extractor_name}"


def lacks_rank(count: int, dims: int) -> bool:
    """Whether there are too few vectors (N <= d) for a covariance of full rank; distances are then biased
    upwards."""
    return count <= dims
