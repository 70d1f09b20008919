"""A plan as it lies in the store: every unit with its identity, configuration and state."""

from engine.records.plan import (
    MEASURED_SECTIONS,
    TRAINED_SECTIONS,
    PlannedCell,
    PlannedTraining,
    PlanRecord,
)
from orchestrator.planning.cell import Cell
from orchestrator.planning.identity import cell_versions, training_versions
from orchestrator.planning.plan import Plan
from orchestrator.planning.training import Training


def plan_record(plan: Plan) -> PlanRecord:
    """What plan.json holds."""
    return PlanRecord(
        sweep=plan.sweep.grid.name,
        points=plan.num_points,
        trainings=tuple(_training(unit, plan) for unit in plan.trainings),
        cells=tuple(_cell(cell) for cell in plan.cells),
    )


def _training(unit: Training, plan: Plan) -> PlannedTraining:
    return PlannedTraining(
        train_id=unit.train_id,
        selection_id=unit.selection_id,
        axes=unit.axes,
        label=unit.label,
        state=plan.training_state(unit),
        experiment=unit.experiment.model_dump(mode="json", include=set(TRAINED_SECTIONS)),
        versions=training_versions(unit.experiment),
    )


def _cell(cell: Cell) -> PlannedCell:
    return PlannedCell(
        cell_id=cell.cell_id,
        train_id=cell.training.train_id,
        label=cell.label,
        points=cell.points,
        reasons=cell.reasons,
        versions=cell_versions(cell.experiment),
        **cell.experiment.model_dump(mode="json", include=set(MEASURED_SECTIONS)),
    )
