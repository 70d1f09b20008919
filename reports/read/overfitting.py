"""Overfitting in the curves: the training loss falls while snapshots get worse [playbook 1.4]."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from reports.formatting import significant

LOSS = "train/loss"
SELECTION = "selection/"
LATER = 2
"""Snapshots that must follow the best one."""
FEWEST = 6
"""Snapshots from which on their noise can be told."""
CERTAINTY = 0.998
"""One-sided level at which a rise or a fall is more than noise."""

Points = Sequence[tuple[float, float]]
"""(kimg, value) of a curve, in any order."""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Overfitting:
    """Where a training's loss still fell while its selection metric rose."""

    from_kimg: float
    """Snapshot with the lowest metric."""
    to_kimg: float
    """Last snapshot."""
    loss_fall: float
    """How far the straight line through the loss falls over the window; positive."""
    metric_rise: float
    """Mean of the last two snapshots less that of the best one and its neighbours; positive."""

    @property
    def words(self) -> str:
        """What was seen, to follow the name of the training."""
        return (
            f"overfits from {self.from_kimg:g} to {self.to_kimg:g} kimg: the loss still fell by "
            f"{significant(self.loss_fall)} while the selection metric rose by "
            f"{significant(self.metric_rise)}"
        )


def overfitting(loss: Points, metric: Points) -> Overfitting | None:
    """The window of overfitting, or None. Both are better when lower.

    The rule: the best snapshot lies at least two before the last; the last two together lie above the best
    and its neighbours by more than their noise, a Student quantile of it as the snapshots are few; and over
    that window the slope of the loss lies below 0 by more than its own. Noise is taken from second
    differences, to which a smooth curve adds little and never takes away, so that bends of a curve make the
    rule more careful.
    """
    kimg, values = _sorted(metric)
    if len(values) < FEWEST or (best := int(values.argmin())) > len(values) - 1 - LATER:
        return None
    rise = values[-LATER:].mean() - values[max(best - 1, 0) : best + 2].mean()
    if rise <= _quantile(len(values)) * _noise(values):
        return None
    times, losses = _sorted([point for point in loss if kimg[best] <= point[0] <= kimg[-1]])
    fall = _certain_fall(times, losses) * (kimg[-1] - kimg[best])
    return Overfitting(float(kimg[best]), float(kimg[-1]), float(fall), float(rise)) if fall > 0 else None


def by_training(curves: pd.DataFrame) -> dict[str, Overfitting]:
    """Train id -> its window, for the trainings that overfit [columns: engine.records.tables.CURVES]."""
    found = {str(train_id): _of_curves(own) for train_id, own in curves.groupby("train_id", sort=False)}
    return {train_id: window for train_id, window in found.items() if window is not None}


def _of_curves(curves: pd.DataFrame) -> Overfitting | None:
    names = sorted(name for name in curves["name"].unique() if name.startswith(SELECTION))
    return overfitting(_points(curves, LOSS), _points(curves, names[0])) if names else None


def _points(curves: pd.DataFrame, name: str) -> Points:
    own = curves[curves["name"] == name]
    return list(zip(own["kimg"], own["value"], strict=True))


def _sorted(points: Points) -> tuple[Array, Array]:
    """Times and values of the finite points, in order of time."""
    table = np.array(sorted(points), dtype=np.float64).reshape(-1, 2)
    finite = table[np.isfinite(table[:, 1])]
    return finite[:, 0], finite[:, 1]


def _noise(values: Array) -> float:
    """Standard deviation of the noise from point to point: second differences have six times its variance."""
    return float(np.sqrt(np.square(np.diff(values, 2)).mean() / 6))


def _quantile(count: int) -> float:
    """Student's t for the noise of so many points."""
    return float(stats.t.ppf(CERTAINTY, count - 2))


def _certain_fall(times: Array, losses: Array) -> float:
    """Fall per kimg of the line through the losses; 0 when it may be noise, or of less than three points."""
    if len(losses) < 3:
        return 0.0
    centred = times - times.mean()
    spread = np.square(centred).sum()
    slope = float(centred @ losses / spread)
    error = _noise(losses) / np.sqrt(spread)
    return -slope if slope < -_quantile(len(losses)) * error else 0.0
