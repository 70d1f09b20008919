"""A plan as it lies in the store: every unit with its identity, configuration and state."""

from orchestrator.planning.cell import MEASURED_SECTIONS
from orchestrator.planning.plan import Plan
from orchestrator.planning.training import TRAINED_SECTIONS


def plan_record(plan: Plan) -> dict[str, object]:
    """The plan as JSON: every unit with its identity, configuration and state."""
    return {
        "sweep": plan.sweep.grid.name,
        "points": plan.num_points,
        "trainings": [
            {
                "train_id": unit.train_id,
                "selection_id": unit.selection_id,
                "axes": unit.axes,
                "label": unit.label,
                "state": plan.training_state(unit),
                "experiment": unit.experiment.model_dump(mode="json", include=set(TRAINED_SECTIONS)),
            }
            for unit in plan.trainings
        ],
        "cells": [
            {
                "cell_id": cell.cell_id,
                "train_id": cell.training.train_id,
                "label": cell.label,
                "points": list(cell.points),
                "reasons": list(cell.reasons),
                **cell.experiment.model_dump(mode="json", include=set(MEASURED_SECTIONS)),
            }
            for cell in plan.cells
        ],
    }
