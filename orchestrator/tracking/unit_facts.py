"""What MLflow is told of a unit, as plain values: metrics over kimg, params and tags. Knows no MLflow."""

import io
from collections.abc import Mapping
from typing import NamedTuple

import pyarrow.parquet as pq
from pydantic import JsonValue

from engine.records.plan import TRAINED_SECTIONS
from engine.records.units import CellRecord, Selection
from orchestrator.planning.cell import Cell
from orchestrator.planning.training import Training


class Measured(NamedTuple):
    """One value of a metric."""

    name: str
    value: float
    kimg: float


def curve_metrics(curves: bytes | None) -> list[Measured]:
    """Rows of a training's curves.parquet."""
    rows = pq.read_table(io.BytesIO(curves)).to_pylist() if curves else []
    return [Measured(row["name"], row["value"], row["kimg"]) for row in rows]


def selection_metrics(choice: Selection) -> list[Measured]:
    """The score of every snapshot, and which one is reported."""
    scores = [Measured(f"selection/{choice.metric}", value, images / 1000) for images, value in choice.scores]
    return [*scores, Measured("selection/chosen_kimg", choice.chosen_kimg, 0.0)]


def cell_metrics(record: CellRecord) -> list[Measured]:
    """What was measured of a cell, at its snapshot."""
    values = {**record.metrics, "nfe": float(record.nfe)}
    return [Measured(name, value, record.snapshot_kimg) for name, value in values.items()]


def training_params(unit: Training) -> dict[str, str]:
    """The configuration that is trained."""
    return flat_params(unit.experiment.model_dump(mode="json", include=set(TRAINED_SECTIONS)))


def cell_params(cell: Cell) -> dict[str, str]:
    """Sampler and weights, what the sweep varies, and the seeds."""
    experiment = cell.experiment
    measured = experiment.model_dump(mode="json", include={"sample", "weights"})
    seeds = {"train.seed": experiment.train.seed, "eval.sample_seed": experiment.eval.sample_seed}
    return flat_params({**measured, **cell.axes, **seeds})


def flat_params(value: Mapping[str, JsonValue], prefix: str = "") -> dict[str, str]:
    """Nested objects as dotted params."""
    flat: dict[str, str] = {}
    for name, entry in value.items():
        if isinstance(entry, Mapping):
            flat |= flat_params(entry, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(entry)
    return flat
