"""Which of the metrics measured is the distance that quality is judged by."""

from collections.abc import Iterable

from reports.errors import ReportError

DISTANCES = ("fid", "fd_inception")
"""Distances that come first when a sweep has several."""


def judging_distance(metrics: Iterable[str]) -> str:
    """Of the metrics measured, the distance that quality is judged by; ReportError when there is none."""
    found = sorted(name for name in metrics if name == "fid" or name.startswith("fd_"))
    if not found:
        raise ReportError(
            "results.parquet has no distance to judge quality by: no metric is called fid or fd_..."
        )
    return next((name for name in DISTANCES if name in found), found[0])
