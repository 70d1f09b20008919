"""Which metric judges, and which way is better."""

import pytest

from engine.records.metric_facts import Better, MetricFacts, is_distance, judging_distance


@pytest.mark.parametrize(
    ("measured", "judge"),
    [
        (["precision", "fd_classifier"], "fd_classifier"),
        (["fd_classifier", "fd_inception"], "fd_inception"),
        (["fd_inception", "fid", "fd_a"], "fid"),
        (["fd_b", "fd_a"], "fd_a"),
    ],
)
def test_fid_judges_before_other_distances_of_inception_before_the_rest(
    measured: list[str], judge: str
) -> None:
    assert judging_distance(measured) == judge


def test_without_a_distance_nothing_judges() -> None:
    with pytest.raises(LookupError, match="no metric is called fid or fd_"):
        judging_distance(["precision", "fidelity"])
    assert not is_distance("fidelity")


@pytest.mark.parametrize(("better", "header"), [("lower", "fid ↓"), ("higher", "fid ↑"), ("neither", "fid")])
def test_a_header_points_to_the_better_end(better: Better, header: str) -> None:
    assert MetricFacts("fid", "fid", better).header == header
