"""manifest.json: what ran, with which code, on what, and what is missing:
all a reader needs besides numbers."""

from typing import Literal

from pydantic import Field, JsonValue

from engine.records.metric_facts import MetricFacts
from engine.records.record import Axes, JsonObject, Record
from engine.records.units import DataSeen, Environment

MANIFEST_SCHEMA = "orch/manifest@1"
"""Raised only when an older reader would misread a manifest; a new field has a default instead."""


class Code(Record):
    """Which code ran; None is not known."""

    commit: str | None = None
    dirty: bool | None = None
    """Whether files differed from the commit."""
    tree_sha256: str | None = None
    """Of every source file of ours."""
    orch_version: str | None = None
    engine_version: str | None = None


class ProtocolFacts(Record):
    """How cells are measured; settings that reports do not name are kept as they are."""

    id: str | None = None
    extractor: str | None = None
    num_samples: int | None = None
    batch_size: int | None = None
    sample_seed: int | None = None
    selection: JsonValue = None
    """How snapshots are chosen."""
    noise_levels: tuple[str, ...] = ()
    """Which samplers were held to the noise levels that their networks were shown, in words."""
    feature_dims: int = 0
    """Dimensions of the extractor's features; 0 where an earlier version did not say."""


class Counts(Record):
    """How many of what; None is not recorded. points = cells + collapsed."""

    points: int | None = None
    cells: int | None = None
    collapsed: int | None = None
    trainings: int | None = None
    cached_cells: int | None = None
    cached_trainings: int | None = None
    run_cells: int | None = None
    run_trainings: int | None = None
    failed: int | None = None


class NetworkEvaluations(Record):
    """Images times network evaluations, padding included, of the finished cells."""

    points: int
    cells: int
    naive: int
    """Had every grid point been sampled."""
    distinct: int
    """Had every cell been sampled alone."""
    done: int
    """What was really done, shared runs counted once."""


class FailedUnit(Record):
    """A missing unit that recorded why it failed."""

    unit: str
    message: str


class TrainingFacts(Record):
    """A finished training."""

    train_id: str
    axes: Axes = Field(default_factory=dict)
    seed: int | None = None
    seconds: float | None = None
    images_per_second: float | None = None
    num_params: int | None = None
    macs: int | None = None
    """Multiply-accumulates of one forward pass of one image."""
    snapshot_kimg: float | None = None
    runner_up_kimg: float | None = None
    selection_metric: str | None = None
    device: str | None = None
    environment: Environment = Environment()


class NetworkFacts(Record):
    """A network that was trained."""

    name: str = ""
    """Its published name, if it has one."""
    note: str = ""
    """Why it is read so."""
    source: str = ""
    model: JsonObject = Field(default_factory=dict)
    """Its kind and knobs."""
    num_params: int | None = None
    macs: int | None = None


class CollapsedPoints(Record):
    """Grid points that turned out to be one cell."""

    cell_id: str
    points: tuple[Axes, ...] = ()
    reason: str = ""


class ReportChoice(Record):
    """Tables and figures that the grid asks for; None asks for all."""

    tables: tuple[str, ...] | None = None
    figures: tuple[str, ...] | None = None


class Manifest(Record):
    """All of it. Every part may be missing from an earlier version's file."""

    version: Literal["orch/manifest@1"] = Field(default="orch/manifest@1", alias="schema")
    sweep: str | None = None
    recipe: str | None = None
    varies: str | None = None
    smoke: bool = False
    off_playbook: tuple[str, ...] = ()
    """Fields whose values the papers do not use."""
    deviations: tuple[str, ...] = ()
    """How the sweep's anchor differs from its recipe, in words."""
    report: ReportChoice = ReportChoice()
    command: str | None = None
    created: str | None = None
    protocol: ProtocolFacts = ProtocolFacts()
    choices: dict[str, str] = Field(default_factory=dict)
    """Section of the experiments -> its named choices in words, the defaults too."""
    code: Code = Code()
    environment: Environment = Environment()
    data: DataSeen = DataSeen()
    counts: Counts = Counts()
    evaluations: NetworkEvaluations | None = None
    """None when a cell did not record what was done for it."""
    failures: tuple[FailedUnit, ...] = ()
    trainings: tuple[TrainingFacts, ...] = ()
    networks: tuple[NetworkFacts, ...] = ()
    collapsed: tuple[CollapsedPoints, ...] = ()
    idle_axes: tuple[str, ...] = ()
    """Swept fields that change nothing."""
    lineage: dict[str, str] = Field(default_factory=dict)
    """Cell id -> train id, of every planned cell."""
    metrics: dict[str, MetricFacts] = Field(default_factory=dict)
    """Metric -> how it is shown, for every metric in results.parquet."""
