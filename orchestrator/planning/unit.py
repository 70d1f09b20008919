"""What a worker is told: one unit of work as plain data, readable on any machine of the cluster."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from pydantic import JsonValue

from engine.config.experiment import Experiment
from orchestrator.planning.cell import Cell
from orchestrator.planning.training import Training

JsonObject = dict[str, JsonValue]

TRAIN = "train"
"""Kind of a unit that trains and chooses the snapshot."""

SAMPLE = "sample"
"""Kind of a unit that measures a cell, and samples its images unless a shared run has."""

SHARED_RUN = "draw"
"""Kind of a unit that samples for many cells at once. The word is that of the sweep's log of attempts."""


@dataclass(frozen=True)
class Unit:
    """A training, cell or shared run to work on; `unit_id` names a training's or cell's folder."""

    kind: str
    unit_id: str
    train_id: str
    selection_id: str
    experiment: JsonObject
    label: str
    storage: str
    data_root: str | None
    threads: int
    parent_id: str = ""
    samplers: tuple[tuple[str, JsonObject], ...] = ()
    """Of a shared run: the cells it samples for and their samplers."""
    batches: tuple[int, ...] = ()
    """Of a shared run: which batches of sample indices it samples."""

    @classmethod
    def of_training(cls, training: Training, storage: str, data_root: str | None, threads: int) -> "Unit":
        """The unit that trains and chooses the snapshot."""
        return cls(
            kind=TRAIN,
            unit_id=training.train_id,
            train_id=training.train_id,
            selection_id=training.selection_id,
            experiment=training.experiment.model_dump(mode="json"),
            label=training.label,
            storage=storage,
            data_root=data_root,
            threads=threads,
            parent_id=training.parent_id,
        )

    @classmethod
    def of_cell(cls, cell: Cell, storage: str, data_root: str | None, threads: int) -> "Unit":
        """The unit that samples and measures."""
        return cls(
            kind=SAMPLE,
            unit_id=cell.cell_id,
            train_id=cell.training.train_id,
            selection_id=cell.training.selection_id,
            experiment=cell.experiment.model_dump(mode="json"),
            label=cell.label,
            storage=storage,
            data_root=data_root,
            threads=threads,
            parent_id=cell.training.parent_id,
        )

    @classmethod
    def of_shared_run(cls, cells: Sequence[Cell], batches: Sequence[int], like: "Unit") -> "Unit":
        """The unit that samples batches of images for many cells at once; `like` is a unit of such a cell."""
        first = batches[0] * cells[0].experiment.eval.batch_size
        return replace(
            like,
            kind=SHARED_RUN,
            unit_id=f"{cells[0].cell_id}-{batches[0]}",
            label=f"{len(cells)} samplers, images from {first:,} on",
            samplers=tuple((cell.cell_id, cell.experiment.sample.model_dump(mode="json")) for cell in cells),
            batches=tuple(batches),
        )

    @classmethod
    def from_json(cls, text: str) -> "Unit":
        """Undo `to_json`."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """JSON text: one opaque value to Ray, which would otherwise index every field of it."""
        return json.dumps(asdict(self))

    @property
    def spec(self) -> Experiment:
        """The typed configuration."""
        return Experiment.model_validate(self.experiment)
