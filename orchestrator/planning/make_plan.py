"""From the points of a sweep to distinct trainings and cells: points that would do the same work are one."""

from collections.abc import Hashable, Iterable
from typing import Any

from engine.config.experiment import Experiment
from engine.records.plan import TRAINED_SECTIONS
from orchestrator.grid import Overrides, Point, Sweep
from orchestrator.grid.fields import value_of
from orchestrator.planning.cell import Cell
from orchestrator.planning.collapse import collapse_reasons
from orchestrator.planning.identity import cell_id, protocol_id, selection_id, train_id
from orchestrator.planning.plan import Plan
from orchestrator.planning.training import Training

Sections = tuple[Hashable, ...]
"""Sections of an experiment, which are frozen and compare by value."""


def make_plan(sweep: Sweep, points: Iterable[Point]) -> Plan:
    """Turn grid points into distinct trainings and cells, in the points' order; none counts as finished.

    What lies in the store is told afterwards, with `Plan.with_finished`, so that planning reads nothing.
    """
    trainings: dict[str, Training] = {}
    training_of_sections: dict[Sections, Training] = {}
    points_of_cell: dict[str, list[Point]] = {}
    training_of_cell: dict[str, Training] = {}
    for point in points:
        sections = _sections(point.experiment)
        if sections not in training_of_sections:
            training = _training(point)
            if training.parent_id and training.parent_id not in trainings:
                trainings[training.parent_id] = _parent(point)
            training_of_sections[sections] = trainings.setdefault(training.train_id, training)
        training = training_of_sections[sections]
        identity = cell_id(point.experiment, training.selection_id)
        points_of_cell.setdefault(identity, []).append(point)
        training_of_cell[identity] = training
    cells = tuple(
        _cell(identity, training_of_cell[identity], members) for identity, members in points_of_cell.items()
    )
    num_points = sum(len(cell.points) for cell in cells)
    return Plan(sweep, num_points, tuple(trainings.values()), cells)


def _sections(experiment: Experiment) -> Sections:
    """All that a training's identity and the choice of its snapshot depend on.

    Most points of a sweep of samplers share one training: hashing it once spares most of a large plan's time.
    """
    trained = tuple(getattr(experiment, name) for name in TRAINED_SECTIONS)
    protocol = experiment.eval
    return (*trained, protocol.selection, protocol.extractor, protocol.batch_size)


def _training(point: Point) -> Training:
    experiment = point.experiment
    identity = train_id(experiment)
    swept = {field: value for field, value in point.axes.items() if field.split(".")[0] in TRAINED_SECTIONS}
    parent = train_id(experiment.parent) if experiment.parent else ""
    return Training(
        identity, selection_id(experiment, identity), experiment, swept, point.off_playbook, parent
    )


def _parent(point: Point) -> Training:
    """The training that a point's training starts from."""
    experiment = point.experiment.parent
    assert experiment is not None, "only a point with a start has a parent"
    identity = train_id(experiment)
    shared = {
        field: value for field, value in point.axes.items() if _acts_on_parent(field, value, experiment)
    }
    return Training(identity, selection_id(experiment, identity), experiment, {"start": "training", **shared})


def _acts_on_parent(field: str, value: Any, parent: Experiment) -> bool:
    """Whether a swept field is one of the parent's too; its network may lack some, as a DiT has no budget."""
    section = field.split(".")[0]
    return section in ("data", "start") or (section == "model" and value_of(parent, field) == value)


def _cell(identity: str, training: Training, members: list[Point]) -> Cell:
    first = members[0]
    return Cell(
        identity,
        training,
        protocol_id(first.experiment),
        first.experiment,
        first.axes,
        tuple(_asked(point) for point in members),
        collapse_reasons(members) if len(members) > 1 else (),
        first.off_playbook,
    )


def _asked(point: Point) -> Overrides:
    """A point's swept fields and, when its sampler comes from the panel, that sampler."""
    swept = any(field.startswith("sample.") for field in point.axes)
    return point.axes if swept else {**point.axes, "sampler": point.experiment.sample.label}
