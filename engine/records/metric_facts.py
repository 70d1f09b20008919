"""What a reader must know of a metric besides its values, and which of them is the distance."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher", "neither"]
"""Which values are better; "neither" of what only describes, such as a network's compute."""

MAIN_DISTANCES = ("fid", "fd_inception")
"""Distances that come first when a sweep has several."""


@dataclass(frozen=True)
class MetricFacts:
    """A metric as it is shown. The metric's own kind states them once;
    manifests carry them to the reports."""

    name: str
    """As in results.parquet: `fd_classifier`, `nll_test`."""
    label: str
    """Header of a column; of a distance exactly its name."""
    better: Better
    unit: str = ""
    """Unit of the values as stored: "s", "bits / dim"; nothing for a plain number."""
    group: str = ""
    """Metrics that are read together: "distance", "overlap", "likelihood", "loss", "cost" ..."""
    scale: float = 1.0
    """What a value is multiplied with to be shown: 1000 where seconds are shown in ms."""
    per_image_count: bool = False
    """Whether the value depends on how many images were generated, as a distance's does."""

    @property
    def arrow(self) -> str:
        """An arrow towards the better end, or nothing."""
        return {"lower": "↓", "higher": "↑", "neither": ""}[self.better]

    @property
    def header(self) -> str:
        """The label with its arrow."""
        return f"{self.label} {self.arrow}".rstrip()


def is_distance(metric: str) -> bool:
    """Whether a metric is a Fréchet distance by its name."""
    return metric == "fid" or metric.startswith("fd_")


def judging_distance(metrics: Iterable[str]) -> str:
    """Of the metrics measured, the distance that quality is judged by; LookupError when there is none."""
    found = sorted(name for name in metrics if is_distance(name))
    if not found:
        raise LookupError(
            "results.parquet has no distance to judge quality by: no metric is called fid or fd_..."
        )
    return next((name for name in MAIN_DISTANCES if name in found), found[0])
