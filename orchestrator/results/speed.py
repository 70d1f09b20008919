"""How fast the units of a run were, kept for the next plan and its time left."""

from engine.records import paths
from engine.records.units import CellDone, TrainingDone
from orchestrator.planning.cell import Cell
from orchestrator.planning.plan import Plan
from orchestrator.planning.speed import MeasuredCell, MeasuredTraining, with_units
from orchestrator.planning.training import Training
from orchestrator.storage.speeds import read_speeds, write_speeds
from orchestrator.storage.store import Store


def remember_speed(before: Plan, after: Plan, store: Store) -> None:
    """Keep the speed of the units that were finished between two plans."""
    new = after.finished - before.finished
    trained = [_trained(unit, store) for unit in after.trainings if unit.done_file in new]
    sampled = [_sampled(cell, store) for cell in after.cells if cell.done_file in new]
    known = read_speeds(store)
    learned = with_units(known, after.sweep, trained, sampled)
    if learned != known:
        write_speeds(store, learned)


def _trained(unit: Training, store: Store) -> MeasuredTraining:
    done = store.training(unit.train_id).read_record(paths.DONE, TrainingDone)
    if done is None:
        raise FileNotFoundError(f"{store.shown}/{unit.done_file} is gone")
    return MeasuredTraining(unit, done.seconds)


def _sampled(cell: Cell, store: Store) -> MeasuredCell:
    done = store.cell(cell.cell_id).read_record(paths.DONE, CellDone)
    if done is None:
        raise FileNotFoundError(f"{store.shown}/{cell.done_file} is gone")
    return MeasuredCell(cell, done.seconds, done.evaluations or 0)
