"""The typed form of a grid file: what each key means. Unknown keys are errors."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from engine.frozen import Frozen
from orchestrator.grid.one_of import OneOf

PLAIN_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"


def _no_mapping(value: Any) -> Any:
    """Refuse nested mappings, the usual slip when a field should have been written with dots."""
    if isinstance(value, dict):
        raise ValueError(
            "expected a value or a list, got a mapping (fields are written with dots: model.channels)"
        )
    if isinstance(value, tuple):
        for item in value:
            _no_mapping(item)
    return value


Name = Annotated[str, Field(pattern=PLAIN_NAME)]
FieldName = str
"""A dotted field of an experiment, such as `model.channels`."""
Value = Annotated[Any, BeforeValidator(_no_mapping)]
Values = Annotated[tuple[Value, ...], BeforeValidator(_no_mapping), Field(min_length=1)]
Overrides = dict[FieldName, Value]
Assignments = Annotated[Overrides, Field(min_length=1)]
Axes = Annotated[dict[FieldName, Values], Field(min_length=1)]
Seed = Annotated[int, Field(ge=0)]
SeedList = Annotated[tuple[Seed, ...], Field(min_length=1)]


TableName = Annotated[str, OneOf("reports.tables.registry", "TABLES")]
FigureName = Annotated[str, OneOf("reports.figures.registry", "FIGURES")]


class When(Frozen):
    """Extra axes for the points on which a condition holds."""

    condition: Assignments = Field(alias="if")
    """Fields and the value each must have; a list means any of."""
    axes: Axes
    """Fields and the values to try there."""


class Seeds(Frozen):
    """Every point is run once for each pair of seeds."""

    train: SeedList = (0,)
    """Seeds of trainings: initial weights, order of images, noise."""
    sample: SeedList = (0,)
    """Seeds of sampling: latents and noise."""


class Search(Frozen):
    """Search the grid's points instead of running all of them."""

    name: Literal["optuna"] = "optuna"
    """Library that proposes points."""
    num_trials: int = Field(ge=1, le=100_000)
    """Points to try."""
    metric: str = Field(default="fd_classifier", pattern=PLAIN_NAME)
    """Metric to optimise."""
    mode: Literal["min", "max"] = "min"
    """Whether smaller or larger is better."""
    sampler: Literal["tpe", "random"] = "tpe"
    """How points are proposed: tree-structured Parzen estimator, or at random."""
    seed: Seed = 0
    """Makes the proposals repeatable."""


class Resources(Frozen):
    """What one training or sampling job asks the cluster for."""

    workers: int = Field(default=1, ge=1)
    """Processes that share one training."""
    cpus_per_worker: float = Field(default=1.0, gt=0)
    """CPU cores a process."""
    gpus_per_worker: float = Field(default=0.0, ge=0)
    """GPUs a process; a fraction shares one."""


class Report(Frozen):
    """Which parts the report shows; without a list, all that apply."""

    tables: tuple[TableName, ...] | None = None
    """Names of tables."""
    figures: tuple[FigureName, ...] | None = None
    """Names of figures."""


class Grid(Frozen):
    """A sweep: one recipe, one knob group that is varied, and everything else locked."""

    model_config = ConfigDict(title="orch grid")

    format: Literal["orch/grid@1"] = Field(alias="schema")
    """Version of this file format."""
    name: Name
    """Name of the sweep and of its output folder: letters, digits, - and _."""
    recipe: Name
    """The anchor configuration: grids/recipes/NAME.yaml."""
    varies: str
    """The one knob group that may vary [playbook 0.4, 1.8]."""
    plugins: tuple[str, ...] = ()
    """Installed packages whose kinds the grid uses, such as `orch-midpoint` or `orch-midpoint>=1.2`."""
    off_playbook: bool = False
    """Allow values that the papers do not use; the report shows which."""
    set: Overrides = Field(default_factory=dict)
    """Fixed changes to the recipe."""
    axes: dict[FieldName, Values] = Field(default_factory=dict)
    """Fields and the values to try; several fields multiply."""
    zip: tuple[Axes, ...] = ()
    """Groups of fields whose lists move together; groups multiply with the axes and each other."""
    points: tuple[Assignments, ...] = ()
    """Points written out one by one; they multiply with the axes."""
    enumerate: Literal["product", "one_at_a_time", "coordinate"] = "product"
    """All combinations; each axis alone around the recipe's values (which are a point too); or a search that
    takes the best value of one axis after the other, starting at the recipe's, until no axis changes."""
    when: tuple[When, ...] = ()
    """Extra axes where a condition holds, applied in order."""
    exclude: tuple[Assignments, ...] = ()
    """Drop the points that match all fields of an entry; a list means any of."""
    linked: dict[FieldName, str] = Field(default_factory=dict)
    """Fields that follow others: field and the rule that computes it."""
    panel: tuple[Assignments, ...] = ()
    """Samplers that every training is evaluated with; list values multiply inside an entry."""
    measure_start: bool = False
    """Also measure the trainings that the points start from,
    with the same samplers: the baseline in the report."""
    seeds: Seeds = Seeds()
    """Seeds of training and sampling."""
    search: Search | None = None
    """Search instead of running every point."""
    resources: Resources = Resources()
    """What one job asks the cluster for."""
    report: Report = Report()
    """What the report shows."""
