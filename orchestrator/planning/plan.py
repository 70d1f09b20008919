"""All units of a sweep and which of them are finished."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from orchestrator.grid import Overrides, Sweep
from orchestrator.planning.cell import Cell
from orchestrator.planning.prefix_groups import PrefixGroup
from orchestrator.planning.spool_batches import SpoolBatch, groups_of, spool_batches
from orchestrator.planning.training import Training


@dataclass(frozen=True)
class Plan:
    """All units of a sweep and which of them are finished."""

    sweep: Sweep
    num_points: int
    trainings: tuple[Training, ...]
    cells: tuple[Cell, ...]
    finished: frozenset[str] = frozenset()
    """Files of the store that exist, among `files`."""

    @property
    def files(self) -> list[str]:
        """Files of the store that say which units are finished."""
        trained = [unit.done_file for unit in self.trainings]
        measured = [cell.done_file for cell in self.cells]
        selected = [unit.selection_file for unit in self.trainings]
        return trained + measured + selected

    def with_finished(self, existing: Iterable[str]) -> "Plan":
        """The same units, of which those are finished whose files exist."""
        return replace(self, finished=frozenset(existing))

    @cached_property
    def missing_trainings(self) -> tuple[Training, ...]:
        """Trainings not finished, or whose snapshot is not chosen under this protocol."""
        return tuple(unit for unit in self.trainings if not self._ready(unit))

    @cached_property
    def missing_cells(self) -> tuple[Cell, ...]:
        """Cells not finished."""
        return tuple(cell for cell in self.cells if cell.done_file not in self.finished)

    @cached_property
    def finished_cells(self) -> tuple[Cell, ...]:
        """Cells that are measured."""
        return tuple(cell for cell in self.cells if cell.done_file in self.finished)

    @cached_property
    def ready_trainings(self) -> tuple[Training, ...]:
        """Trainings that need nothing more."""
        return tuple(unit for unit in self.trainings if self._ready(unit))

    @cached_property
    def spool_batches(self) -> list[SpoolBatch]:
        """The missing cells as they would run: groups that share a run, in batches that fit the spool."""
        return spool_batches(self.missing_cells)

    @cached_property
    def missing_groups(self) -> list[PrefixGroup]:
        """The groups of all spool batches."""
        return groups_of(self.spool_batches)

    @property
    def idle_axes(self) -> tuple[str, ...]:
        """Swept fields that change nothing: points that differ in one alone are always the same cell."""
        points = [(cell.cell_id, point) for cell in self.cells for point in cell.points]
        fields = dict.fromkeys(field for _, point in points for field in point)
        return tuple(field for field in fields if _is_idle(field, points))

    @property
    def num_collapsed(self) -> int:
        """Points that are the same work as an earlier point."""
        return self.num_points - len(self.cells)

    def training_state(self, unit: Training) -> str:
        """What has to happen to a training: cached, select (only its snapshot is to be chosen) or train."""
        if self._ready(unit):
            return "cached"
        return "select" if unit.done_file in self.finished else "train"

    def _ready(self, unit: Training) -> bool:
        return unit.done_file in self.finished and unit.selection_file in self.finished


def _is_idle(field: str, points: list[tuple[str, Overrides]]) -> bool:
    """Whether the field has several values over (cell, point) pairs, none of which makes another cell."""
    if len({str(point[field]) for _, point in points if field in point}) < 2:
        return False
    cells: dict[str, str] = {}
    for identity, point in points:
        others = str({name: value for name, value in point.items() if name != field})
        if cells.setdefault(others, identity) != identity:
            return False
    return True
