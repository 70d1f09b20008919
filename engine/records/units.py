"""Records in a unit's folder, a training's or a cell's, and of the data they were made from."""

from pydantic import Field

from engine.records.record import JsonObject, Record


class Environment(Record):
    """What a process ran on; None is not known."""

    python: str | None = None
    platform: str | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    """Distribution -> version."""
    cpu: str | None = None
    cpu_count: int | None = None
    gpu: str | None = None
    threads: int | None = None
    """Threads that arithmetic was split over."""
    device: str | None = None
    """The GPU, else the CPU, that computed."""


class TrainingDone(Record):
    """DONE.json of a training. It is trained; which snapshot is reported, a Selection says."""

    train_id: str
    seconds: float
    """Of training, over all attempts."""
    environment: Environment = Environment()
    finished: str = ""
    """UTC, ISO 8601."""


class CellDone(Record):
    """DONE.json of a cell."""

    cell_id: str
    seconds: float
    """Of sampling and measuring."""
    evaluations: int | None = None
    """Images times network evaluations that were done for this cell alone."""
    environment: Environment = Environment()
    finished: str = ""
    """UTC, ISO 8601."""


class UnitFailed(Record):
    """FAILED.json: why a unit failed when it was last tried."""

    message: str
    finished: str = ""
    """UTC, ISO 8601."""


class TrainingSpec(Record):
    """spec.json: the experiment that a training's weights are of. Sections are as the grid has them."""

    data: JsonObject
    model: JsonObject
    objective: JsonObject
    train: JsonObject
    start: JsonObject | None = None
    """The training it starts from, where there is one."""
    versions: dict[str, int] = Field(default_factory=dict)
    """Version of every corrected part that made the weights; a part that is not named has version 1."""


class Selection(Record):
    """selections/<selection_id>.json: every snapshot's score under one rule, and the best two."""

    metric: str
    scores: tuple[tuple[int, float], ...]
    """(images shown, score), in order."""
    chosen: int
    """Images shown at the reported snapshot."""
    runner_up: int | None = None

    @property
    def chosen_kimg(self) -> float:
        """The reported snapshot in thousands of images."""
        return self.chosen / 1000

    @property
    def runner_up_kimg(self) -> float | None:
        """The second best in thousands of images."""
        return None if self.runner_up is None else self.runner_up / 1000


class CellRecord(Record):
    """cell.json: all that was measured of a cell."""

    cell_id: str
    train_id: str
    experiment: JsonObject
    """The whole experiment as it was measured."""
    sampler: JsonObject = Field(default_factory=dict)
    """The sampler's canonical form, shared by all configurations that are the same sampler."""
    snapshot_kimg: float
    metrics: dict[str, float]
    jackknife: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """Distance -> its value with each block of images left out."""
    nfe: int
    """Network evaluations of one image, counted."""
    evaluations: int | None = None
    """Images times network evaluations really done, padding included; a shared run's are divided."""
    macs: int | None = None
    """Multiply-accumulates executed in a forward pass of an image; None where every pass costs the same."""
    num_params: int
    extractor_sha256: str
    reference_id: str
    versions: dict[str, int] = Field(default_factory=dict)
    """Version of every corrected part that sampled and measured it;
    a part that is not named has version 1."""


class DataSeen(Record):
    """data.json: a data set as a worker read it."""

    name: str = ""
    sha256: str | None = None
    num_images: int | None = None
