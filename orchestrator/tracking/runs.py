"""The MLflow runs of one sweep, found again by the unit they are of."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from engine.records.units import CellDone, TrainingDone
from orchestrator.tracking.unit_facts import Measured

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

MAX_PARAM_LENGTH = 500
METRICS_PER_BATCH = 1000
"""As many as MLflow takes in one request."""

UNIT_TAG = "orch.unit"
MIRRORED_TAG = "orch.mirrored"
"""Up to which kimg a training is mirrored; "inf" of a finished unit."""

Done = TrainingDone | CellDone


@dataclass
class SweepRuns:
    """Runs of one experiment. A unit has one run, however often it is mirrored."""

    client: "MlflowClient"
    experiment_id: str
    ids: dict[str, str] = field(default_factory=dict)
    """Unit -> MLflow run id. The sweep itself is the unit "sweep"."""
    mirrored: dict[str, float] = field(default_factory=dict)
    """Unit -> last mirrored kimg of a training, or infinity for a finished unit."""
    started: dict[str, int] = field(default_factory=dict)
    """MLflow run id -> when the run was created, in milliseconds."""

    def find(self) -> None:
        """Learn which runs are there already, and what they have."""
        from mlflow.entities import ViewType

        page_token = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], run_view_type=ViewType.ACTIVE_ONLY, page_token=page_token
            )
            for run in page:
                unit = run.data.tags.get(UNIT_TAG)
                if unit:
                    self.ids[unit] = run.info.run_id
                    self.started[run.info.run_id] = run.info.start_time
                    self.mirrored[unit] = float(run.data.tags.get(MIRRORED_TAG, "-inf"))
            page_token = page.token
            if not page_token:
                return

    def is_finished(self, unit: str) -> bool:
        """Whether all of a unit is mirrored and its run has ended."""
        return self.mirrored_kimg(unit) == math.inf

    def mirrored_kimg(self, unit: str) -> float:
        """Up to where a training is mirrored; minus infinity before the first row."""
        return self.mirrored.get(unit, -math.inf)

    def run_of(self, unit: str, name: str, tags: Mapping[str, str], done: Done | None = None) -> str:
        """The unit's run. A new one begins now, or when the work did if that is over already."""
        if unit not in self.ids:
            start = None if done is None else _milliseconds(done.finished) - round(1000 * done.seconds)
            labels = {UNIT_TAG: unit, **tags}
            run = self.client.create_run(self.experiment_id, start_time=start, tags=labels, run_name=name)
            self.ids[unit] = run.info.run_id
            self.started[run.info.run_id] = run.info.start_time
        return self.ids[unit]

    def log(self, run_id: str, metrics: Sequence[Measured], params: Mapping[str, str]) -> None:
        """Write metrics and params in as few requests as MLflow allows; the step is in kimg."""
        self._log(run_id, metrics, params, {})

    def log_until(
        self, unit: str, run_id: str, metrics: Sequence[Measured], params: Mapping[str, str], kimg: float
    ) -> None:
        """The same of a training under way, which is mirrored up to `kimg` after it."""
        self._log(run_id, metrics, params, {MIRRORED_TAG: str(kimg)})
        self.mirrored[unit] = kimg

    def _log(
        self, run_id: str, metrics: Sequence[Measured], params: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        """Write to a run in batches that MLflow accepts."""
        from mlflow.entities import Metric, Param, RunTag

        # A metric's time is the run's start and a millisecond for each image, not the clock's: MLflow drops a
        # row that it has already, and so one that was written just before a driver was killed is not doubled.
        start = self.started[run_id]
        entities = [
            Metric(name, value, start + round(kimg * 1000), round(kimg)) for name, value, kimg in metrics
        ]
        # The tag says up to where a training is mirrored, so it goes with the batch
        # that is sent last: after a kill in between, all of them are sent again.
        first, rest = entities[:METRICS_PER_BATCH], entities[METRICS_PER_BATCH:]
        for offset in range(0, len(rest), METRICS_PER_BATCH):
            self.client.log_batch(run_id, metrics=rest[offset : offset + METRICS_PER_BATCH])
        self.client.log_batch(
            run_id,
            metrics=first,
            params=[Param(name, value[:MAX_PARAM_LENGTH]) for name, value in params.items()],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )

    def log_png(self, run_id: str, data: bytes, name: str) -> None:
        """Keep a picture as an artifact."""
        from PIL import Image

        self.client.log_image(run_id, Image.open(io.BytesIO(data)), name)

    def log_text(self, run_id: str, text: str, name: str) -> None:
        """Keep a text file as an artifact."""
        self.client.log_text(run_id, text, name)

    def finish(self, unit: str, done: Done) -> None:
        """End a unit's run. The tag comes last: a driver killed before it mirrors the unit once more."""
        run_id = self.ids[unit]
        self.client.set_terminated(run_id, "FINISHED", end_time=_milliseconds(done.finished))
        self.client.set_tag(run_id, MIRRORED_TAG, "inf")
        self.mirrored[unit] = math.inf

    def end(self, unit: str, status: str) -> None:
        """End the run of a unit that is not finished. `status` is FINISHED, FAILED or KILLED."""
        self.client.set_terminated(self.ids[unit], status)


def _milliseconds(iso_time: str) -> int:
    return int(datetime.fromisoformat(iso_time).timestamp() * 1000)
