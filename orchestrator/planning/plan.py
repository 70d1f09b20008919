"""From a sweep to units of work. Pure: the same sweep and the same finished work give the same plan; imports
no Ray."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from engine.config.experiment import Experiment
from engine.config.model import UNetBase
from engine.config.weights import EmaWeights
from engine.data.catalog import CATALOG
from orchestrator.grid import Point, Sweep
from orchestrator.grid.fields import value_of
from orchestrator.planning.identity import canonical_model, cell_id, protocol_id, selection_id, train_id
from orchestrator.storage.store import DONE, Store
from reports.formatting import value_text

TRAINED_SECTIONS = ("data", "model", "objective", "train", "start")
"""Sections of an experiment that make its weights."""

MEASURED_SECTIONS = ("sample", "eval", "weights")
"""Sections that only act after training."""


@dataclass(frozen=True)
class Training:
    """One model to train and the choice of its snapshot."""

    train_id: str
    selection_id: str
    experiment: Experiment
    axes: dict[str, Any]
    """The swept fields that make this training differ from the sweep's others."""
    off_playbook: tuple[str, ...] = ()
    parent_id: str = ""
    """The training it starts from."""

    @property
    def done_file(self) -> str:
        """File that says the training is finished."""
        return f"train/{self.train_id}/{DONE}"

    @property
    def selection_file(self) -> str:
        """File that says its snapshot is chosen under the sweep's protocol."""
        return f"train/{self.train_id}/selections/{self.selection_id}.json"

    @property
    def label(self) -> str:
        """The swept fields in words."""
        seed = self.experiment.train.seed
        return describe({**self.axes, "seed": seed} if seed else self.axes) or "the recipe"


@dataclass(frozen=True)
class Cell:
    """One sampler measured on one training's snapshot, and the points of the grid it stands for."""

    cell_id: str
    training: Training
    protocol_id: str
    experiment: Experiment
    axes: dict[str, Any]
    """Swept fields of the first of its points."""
    points: tuple[dict[str, Any], ...]
    """What each grid point that is this cell asked for; more than one when points collapsed."""
    reasons: tuple[str, ...]
    """Why points are the same sampler, in words."""
    off_playbook: tuple[str, ...] = ()

    @property
    def done_file(self) -> str:
        """File that says the cell is finished."""
        return f"cells/{self.cell_id}/{DONE}"

    @property
    def label(self) -> str:
        """Training and sampler in words."""
        training = self.training.label if self.training.axes or self.experiment.train.seed else ""
        seed = self.experiment.eval.sample_seed
        weights = self.experiment.weights
        averaged = "" if weights == EmaWeights() else weights.label(self.experiment.train)
        parts = (training, averaged, self.experiment.sample.label, f"sample seed {seed}" if seed else "")
        return " · ".join(part for part in parts if part)


@dataclass(frozen=True)
class Plan:
    """All units of a sweep and which of them are finished."""

    sweep: Sweep
    num_points: int
    trainings: tuple[Training, ...]
    cells: tuple[Cell, ...]
    finished: frozenset[str]
    """Files of the store that exist, among those the plan asks for."""

    @cached_property
    def missing_trainings(self) -> tuple[Training, ...]:
        """Trainings not finished, or whose snapshot is not chosen under this protocol."""
        return tuple(unit for unit in self.trainings if not self._ready(unit))

    @cached_property
    def missing_cells(self) -> tuple[Cell, ...]:
        """Cells not finished."""
        return tuple(cell for cell in self.cells if cell.done_file not in self.finished)

    @cached_property
    def ready_trainings(self) -> tuple[Training, ...]:
        """Trainings that need nothing more."""
        return tuple(unit for unit in self.trainings if self._ready(unit))

    @property
    def idle_axes(self) -> tuple[str, ...]:
        """Swept fields that change nothing: points that differ in one of them alone are always the same
        cell."""
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


def make_plan(sweep: Sweep, points: Iterable[Point], store: Store) -> Plan:
    """Turn grid points into distinct trainings and cells, and ask the store which are finished."""
    trainings: dict[str, Training] = {}
    grouped: dict[str, list[Point]] = {}
    owners: dict[str, Training] = {}
    for point in points:
        training = _training(point)
        if training.parent_id and training.parent_id not in trainings:
            trainings[training.parent_id] = _parent(point)
        training = trainings.setdefault(training.train_id, training)
        identity = cell_id(point.experiment, training.selection_id)
        grouped.setdefault(identity, []).append(point)
        owners[identity] = training
    cells = tuple(_cell(identity, owners[identity], members) for identity, members in grouped.items())
    files = (
        [unit.done_file for unit in trainings.values()]
        + [cell.done_file for cell in cells]
        + [unit.selection_file for unit in trainings.values()]
    )
    num_points = sum(len(members) for members in grouped.values())
    return Plan(sweep, num_points, tuple(trainings.values()), cells, frozenset(store.finished(files)))


def _is_idle(field: str, points: list[tuple[str, dict[str, Any]]]) -> bool:
    """Whether the field has several values over (cell, point) pairs, and none of them is a cell of its
    own."""
    if len({str(point[field]) for _, point in points if field in point}) < 2:
        return False
    cells: dict[str, str] = {}
    for identity, point in points:
        others = str({name: value for name, value in point.items() if name != field})
        if cells.setdefault(others, identity) != identity:
            return False
    return True


def describe(axes: dict[str, Any]) -> str:
    """Swept fields in short words: `channels 32, dropout 0.1`; a kind is called by its section: `weighting
    min_snr`."""
    return ", ".join(f"{_name(field)} {value_text(value)}" for field, value in axes.items())


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 cell`, `2,000 cells`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _name(field: str) -> str:
    return field.removesuffix(".kind").rsplit(".", 1)[-1]


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
    """Whether a swept field is one of the parent's too. Its network may lack some: a DiT has no budget of
    FLOPs."""
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
        _reasons(members) if len(members) > 1 else (),
        first.off_playbook,
    )


def _asked(point: Point) -> dict[str, Any]:
    """A point's swept fields and, when its sampler comes from the panel, that sampler."""
    swept = any(field.startswith("sample.") for field in point.axes)
    return point.axes if swept else {**point.axes, "sampler": point.experiment.sample.label}


def _reasons(members: list[Point]) -> tuple[str, ...]:
    """Why these points are one sampler on the same weights, each reason once."""
    experiments = [point.experiment for point in members]
    reasons: list[str] = []
    if len({experiment.sample for experiment in experiments}) > 1:
        reasons += (reason for experiment in experiments for reason in experiment.sample.canonical().reasons)
    if len({experiment.model for experiment in experiments}) > 1:
        reasons.append(_idle_attention(experiments[0]))
    if len({experiment.weights for experiment in experiments}) > 1:
        halflife = experiments[0].train.ema_halflife_kimg
        reasons.append(f"weights ema with half-life {halflife:g} kimg are the training's own average")
    return tuple(dict.fromkeys(reasons)) or ("the same point is listed twice",)


def _idle_attention(experiment: Experiment) -> str:
    """Why networks with other attention resolutions are this one."""
    model = canonical_model(experiment)
    assert isinstance(model, UNetBase), "other networks have one form"
    side = CATALOG[experiment.data.name].resolution
    levels = ", ".join(str(side >> level) for level in range(len(model.channel_mult)))
    attended = ", ".join(map(str, model.attention_resolutions)) or "none"
    return f"images of {side} pixels have levels of {levels}: attention acts at {attended} of them"
