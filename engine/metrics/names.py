"""What a Frechet distance may be called. Imports no torch, so plans and reports can ask."""

FID_SAMPLES = 50_000
"""Generated images of the published FID protocol [playbook 5.5]."""


def distance_name(extractor_name: str, num_samples: int) -> str:
    """`fid` for Inception features of at least 50,000 samples; anything else is `fd_<extractor>`."""
    return "fid" if extractor_name == "inception" and num_samples >= FID_SAMPLES else f"fd_{extractor_name}"
