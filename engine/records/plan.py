"""plan.json: the units that a sweep last ran with."""

from pydantic import Field

from engine.records import paths
from engine.records.record import Axes, JsonObject, Record

TRAINED_SECTIONS = ("data", "model", "objective", "train", "start")
"""Sections of an experiment that make its weights."""

MEASURED_SECTIONS = ("sample", "eval", "weights")
"""Sections that only act after training."""


class PlannedTraining(Record):
    """A training, and under which rule its snapshot is chosen."""

    train_id: str
    selection_id: str
    axes: Axes = Field(default_factory=dict)
    label: str = ""
    state: str = ""
    """When the plan was written: "cached", "select" or "train"."""
    experiment: JsonObject = Field(default_factory=dict)
    """Its TRAINED_SECTIONS."""
    versions: dict[str, int] = Field(default_factory=dict)
    """Version of every corrected part that makes its weights."""

    @property
    def folder(self) -> str:
        """Its folder, from the root."""
        return paths.training_folder(self.train_id)

    @property
    def needed(self) -> tuple[str, ...]:
        """Files whose presence means that it is finished."""
        return (
            paths.training_done(self.train_id),
            paths.training_selection(self.train_id, self.selection_id),
        )


class PlannedCell(Record):
    """A cell, and the grid points that it stands for."""

    cell_id: str
    train_id: str
    label: str = ""
    points: tuple[Axes, ...] = ()
    reasons: tuple[str, ...] = ()
    """Why several points are one cell, in words."""
    sample: JsonObject = Field(default_factory=dict)
    eval: JsonObject = Field(default_factory=dict)
    weights: JsonObject = Field(default_factory=dict)
    versions: dict[str, int] = Field(default_factory=dict)
    """Version of every corrected part that samples and measures it."""

    @property
    def folder(self) -> str:
        """Its folder, from the root."""
        return paths.cell_folder(self.cell_id)

    @property
    def needed(self) -> tuple[str, ...]:
        """Files whose presence means that it is finished."""
        return (paths.cell_done(self.cell_id),)


class PlanRecord(Record):
    """Every unit with its identity and configuration."""

    sweep: str = ""
    points: int = 0
    """Points of the grid."""
    trainings: tuple[PlannedTraining, ...] = ()
    cells: tuple[PlannedCell, ...] = ()
