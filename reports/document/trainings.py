"""The table of trainings: what each took, and which snapshot of it is reported."""

from collections.abc import Sequence

from engine.records.manifest import TrainingFacts
from reports.document.facts import known
from reports.formatting import describe
from reports.tables.table import Column, Table, frame_of

CAPTION = (
    "The reported snapshot has the lowest distance under the selection sampler; the runner-up comes second."
)
COLUMNS = (
    Column("training", "training", note="train_id"),
    Column("seed", "seed"),
    Column("device", "device"),
    Column("hours", "hours", "number"),
    Column("images_per_second", "train img / s", "integer"),
    Column("num_params", "parameters", "scaled"),
    Column("macs", "MACs", "scaled"),
    Column("snapshot_kimg", "best kimg", "integer"),
    Column("runner_up_kimg", "runner-up", "integer"),
    Column("selection_metric", "chosen by"),
)


def trainings_table(trainings: Sequence[TrainingFacts]) -> Table | None:
    """A row for each finished training; None without one."""
    if not trainings:
        return None
    rows = [_row(one) for one in trainings]
    return Table("trainings", "Trainings", CAPTION, frame_of(rows), COLUMNS)


def _row(one: TrainingFacts) -> dict[str, object]:
    axes = {field: value for field, value in one.axes.items() if field != "train.seed"}
    return {
        "training": describe(axes) or "recipe as it is",
        "seed": known(one.seed),
        "device": known(one.device),
        "hours": None if one.seconds is None else one.seconds / 3600,
        "images_per_second": one.images_per_second,
        "num_params": one.num_params,
        "macs": one.macs,
        "snapshot_kimg": one.snapshot_kimg,
        "runner_up_kimg": one.runner_up_kimg,
        "selection_metric": known(one.selection_metric),
        "train_id": one.train_id,
    }
