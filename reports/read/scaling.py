"""Scaling laws: how a loss falls with the compute of training, y = a F^b, and how sure the exponent is.

A loss that includes its optimum c cannot follow a power law, as it ends at c; its excess over the optimum
can. Both are fitted, so that the difference is a number and no impression [arXiv 2506.13763 Sec. 4].
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from reports.formatting import describe
from reports.read.axes import is_sampler_field
from reports.read.overview import Overview
from reports.read.stats import LEVEL

SERIES = {"model_loss": "as it is", "optimal_loss_gap": "above its optimum"}
"""Metrics that a law is fitted to, and what they are of the loss."""
FEWEST_SIZES = 3
"""Sizes of network from which on a line through them can be wrong."""


@dataclass(frozen=True)
class PowerLaw:
    """y = factor * F^exponent, by least squares in logarithms."""

    factor: float
    exponent: float
    low: float
    high: float
    """Ends of the exponent's 95 % interval: Student's t, for independent errors of ln y of one size."""
    r_squared: float
    """Share of the variance of ln y that the line explains; NaN where ln y does not vary."""

    def __call__(self, compute: NDArray[np.float64]) -> NDArray[np.float64]:
        """The law at these values of F."""
        found: NDArray[np.float64] = self.factor * compute**self.exponent
        return found


@dataclass(frozen=True)
class Trainings:
    """Trainings that differ in their network alone; all sequences have one entry a training."""

    label: str
    """What they have in common where the sweep has several such groups; else nothing."""
    train_ids: tuple[str, ...]
    compute: tuple[float, ...]
    """Multiply-accumulates of the forward passes up to the reported snapshot: MACs times images shown."""
    losses: dict[str, tuple[float, ...]]
    """Metric of SERIES -> its values."""

    def law(self, metric: str) -> PowerLaw | None:
        """The law of one of SERIES."""
        return fit(self.compute, self.losses[metric])


def fit(compute: Sequence[float], values: Sequence[float]) -> PowerLaw | None:
    """The power law through the points; None below 3 different F, or when a value has no logarithm."""
    if len(set(compute)) < FEWEST_SIZES or not all(value > 0 and math.isfinite(value) for value in values):
        return None
    x, y = np.log(compute), np.log(values)
    run, rise = x - x.mean(), y - y.mean()
    spread = float(run @ run)
    total = float(rise @ rise)
    freedom = len(y) - 2
    exponent = float(run @ rise) / spread
    left = float(np.square(rise - exponent * run).sum())
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(left / freedom / spread)
    r_squared = 1 - left / total if total > 0 else math.nan
    factor = math.exp(float(y.mean() - exponent * x.mean()))
    return PowerLaw(factor, exponent, exponent - half, exponent + half, r_squared)


def trainings_by_size(overview: Overview) -> list[Trainings]:
    """Groups of trainings with both losses and at least three sizes of network.

    Compute is the axis, not parameters: it also tells apart networks of equal parameters and trainings of
    different length. A group differs in fields of the network alone, as losses of different objectives have
    no common scale.
    """
    results = overview.sweep.results
    losses = results[results["metric"].isin(list(SERIES))].pivot_table(
        index=["train_id", "weights"], columns="metric", values="value", aggfunc="mean"
    )
    if set(losses.columns) != set(SERIES):
        return []
    facts = results.groupby(["train_id", "weights"])[["num_params", "macs", "snapshot_kimg"]].first()
    table = facts.join(losses.dropna(), how="inner").dropna()
    groups = [(label, table[table.index.isin(own)]) for label, own in _alike(overview).items()]
    return [_group(label, own) for label, own in groups if own["num_params"].nunique() >= FEWEST_SIZES]


def _alike(overview: Overview) -> dict[str, list[tuple[str, str]]]:
    """Label -> (train id, average of its weights) of what has all swept fields in common but the network's.

    Averages of one training have losses of their own, so each is a point of another law.
    """
    fields = [
        field for field in overview.varied if not is_sampler_field(field) and not field.startswith("model.")
    ]
    groups: dict[str, list[tuple[str, str]]] = {}
    for one in overview.configurations:
        label = describe({field: one.axes[field] for field in fields if field in one.axes})
        groups.setdefault(label, []).extend((train_id, one.weights) for train_id in one.train_ids)
    return groups


def _group(label: str, table: pd.DataFrame) -> Trainings:
    compute = table["macs"] * table["snapshot_kimg"] * 1000.0
    ordered = table.assign(compute=compute).sort_values("compute", kind="stable")
    losses = {metric: tuple(map(float, ordered[metric])) for metric in SERIES}
    return Trainings(
        label,
        tuple(str(train_id) for train_id, _ in ordered.index),
        tuple(map(float, ordered["compute"])),
        losses,
    )
