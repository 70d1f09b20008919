"""What a point of a search is worth, as the store's finished cells say."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from engine.records import paths
from engine.records.metric_facts import judging_distance
from engine.records.units import CellRecord
from orchestrator.errors import UsageError
from orchestrator.grid import Point, Sweep
from orchestrator.planning.cell import Cell
from orchestrator.planning.make_plan import make_plan
from orchestrator.storage.store import Store


def first_cell(sweep: Sweep, points: Sequence[Point]) -> Cell:
    """The cell that Optuna judges a proposal by: the panel's first sampler under the first seeds."""
    return make_plan(sweep, points[:1]).cells[0]


def value_of_first_cell(sweep: Sweep, points: Sequence[Point], metric: str, store: Store) -> float | None:
    """A metric of the first cell of these points; None when it is not finished.

    Raises UsageError when the cell is finished and has no such metric.
    """
    metrics = measured_metrics(first_cell(sweep, points), store)
    if metrics is None:
        return None
    if metric not in metrics:
        raise UsageError(f"search.metric: cells have no {metric}, only {', '.join(sorted(metrics))}")
    return metrics[metric]


def mean_distance(sweep: Sweep, points: Sequence[Point], store: Store) -> float | None:
    """The mean distance over seeds of points under the panel's first sampler; infinite where they have none.

    They have none where a cell, or a training that the cell needs, has failed, or where a distance is not
    finite. None when a cell is neither finished nor failed: its distance is yet to come.
    """
    first_sampler = points[0].experiment.sample
    cells = make_plan(sweep, [point for point in points if point.experiment.sample == first_sampler]).cells
    distances: list[float] = []
    for cell in cells:
        metrics = measured_metrics(cell, store)
        if metrics is not None:
            distances.append(metrics[judging_distance(metrics)])
        elif has_failed(cell, store):
            distances.append(math.inf)
        else:
            return None
    return fmean(distances) if all(map(math.isfinite, distances)) else math.inf


def measured_metrics(cell: Cell, store: Store) -> Mapping[str, float] | None:
    """Metrics of a cell by name; None when it is not measured."""
    record = store.cell(cell.cell_id).read_record(paths.CELL, CellRecord)
    return None if record is None else record.metrics


def has_failed(cell: Cell, store: Store) -> bool:
    """Whether a cell, its training or the one that this starts from recorded a failure."""
    if store.cell(cell.cell_id).exists(paths.FAILED):
        return True
    needed = (cell.training.train_id, cell.training.parent_id)
    return any(store.training(identity).exists(paths.FAILED) for identity in needed if identity)
