"""One training configuration under one sampler: what a row of a table is about."""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.records.record import JsonObject
from reports.read.stats import Estimate


@dataclass(frozen=True)
class Configuration:
    """One training configuration under one sampler, over all of its seeds."""

    training: str
    """Label of the weights that are sampled, such as "C = 32": the training and,
    where a sweep measures several averages of its weights, which one."""
    trained: str
    """Label of the training alone, which all averages of its weights share."""
    axes: JsonObject
    """Grid values, without seeds."""
    sampler: JsonObject
    sampler_label: str
    family: str
    """Solver family."""
    deterministic: bool
    """Whether the sampler draws no noise."""
    nfe: int
    num_steps: int
    model: JsonObject
    """The network's kind and knobs."""
    network: str
    """Its published name, or nothing."""
    weights: str
    """Which average of the weights, in words."""
    num_params: int | None
    macs: int | None
    """Multiply-accumulates executed in a forward pass of an image, the mean over the seeds."""
    train_ids: tuple[str, ...]
    cell_ids: tuple[str, ...]
    snapshot_kimg: tuple[float, ...]
    panel: str | None
    """Sample grid of the first seed, relative to the storage."""
    metrics: Mapping[str, Estimate]

    def mean(self, metric: str) -> float:
        """Mean of a metric; NaN when it was not measured."""
        return self.metrics[metric].mean if metric in self.metrics else float("nan")
