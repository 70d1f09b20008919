"""A distance is called FID only when it is one."""

import pytest

from engine.metrics.names import distance_name


@pytest.mark.parametrize(
    ("extractor", "num_samples", "name"),
    [
        ("inception", 50_000, "fid"),
        ("inception", 60_000, "fid"),
        ("inception", 49_999, "fd_inception"),
        ("classifier", 50_000, "fd_classifier"),
        ("classifier", 1_000, "fd_classifier"),
    ],
)
def test_only_inception_on_the_full_protocol_is_fid(extractor, num_samples, name):
    assert distance_name(extractor, num_samples) == name
