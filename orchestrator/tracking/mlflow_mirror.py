"""MLflow: a mirror of the store, never the truth. It can be deleted and rebuilt at any time.

One experiment a sweep; in it one parent run, a child for each training and one for each cell. Runs are found
again by the tag `orch.unit`, so mirroring twice, or after a kill, changes nothing and duplicates nothing.
"""

import io
import logging
import os
import threading
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pyarrow.parquet as pq

from orchestrator.planning.cell import Cell
from orchestrator.planning.plan import Plan
from orchestrator.planning.training import TRAINED_SECTIONS, Training
from orchestrator.storage.store import CURVES_FILE, DONE, FAILED, Folder, Store

MAX_PARAM_LENGTH = 500
METRICS_PER_BATCH = 1000
MIRROR_SECONDS = 15.0


def tracking_uri(store: Store) -> str:
    """MLFLOW_TRACKING_URI, else a sqlite file in the storage (in the working folder when the storage is
    remote)."""
    configured = os.environ.get("MLFLOW_TRACKING_URI")
    if configured:
        return configured
    return f"sqlite:///{(store.local_path or Path.cwd()) / 'mlflow.db'}"


def chart_links(store: Store, address: str) -> list[tuple[str, str]]:
    """(what, link) into MLflow's page for each sweep: its trainings' curves and its cells, all runs in one
    chart.

    The page charts folded runs only by their parent; sorting by a metric unfolds them.
    """
    from mlflow.tracking import MlflowClient

    client, links = MlflowClient(tracking_uri=tracking_uri(store)), []
    for experiment in client.search_experiments(filter_string="name LIKE 'orch/%'"):
        for kind, words in (("train", "trainings"), ("cell", "cells")):
            query = f"tags.`orch.kind` = '{kind}'"
            runs = client.search_runs([experiment.experiment_id], query, max_results=1)
            metric = next(iter(sorted(runs[0].data.metrics)), None) if runs else None
            if metric:
                order = {
                    "orderByKey": f"metrics.`{metric}`",
                    "orderByAsc": "true",
                    "compareRunsMode": "CHART",
                }
                page = f"{address}/#/experiments/{experiment.experiment_id}/runs"
                links.append(
                    (
                        f"{experiment.name.removeprefix('orch/')}, {words}",
                        f"{page}?{urlencode({'searchFilter': query, **order})}",
                    )
                )
    return sorted(links)


@dataclass
class Mirror:
    """Keeps one sweep's MLflow experiment equal to the store."""

    plan: Plan
    store: Store
    runs: dict[str, str] = field(default_factory=dict)
    """orch.unit -> MLflow run id."""
    mirrored: dict[str, float] = field(default_factory=dict)
    """orch.unit -> last mirrored kimg of a training, or infinity for a finished unit."""
    started: dict[str, int] = field(default_factory=dict)
    """MLflow run id -> when the run was created, in milliseconds."""

    def open(self) -> None:
        """Find or create the experiment and the sweep's parent run, and learn what is mirrored already."""
        from mlflow.entities import ViewType
        from mlflow.tracking import MlflowClient

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        sweep, uri = self.plan.sweep, tracking_uri(self.store)
        self.client = MlflowClient(tracking_uri=uri)
        known = self.client.get_experiment_by_name(f"orch/{sweep.output_name}")
        location = (
            f"file://{self.store.local_path}/artifacts"
            if uri.startswith("sqlite") and self.store.local_path
            else None
        )
        self.experiment_id = (
            known.experiment_id
            if known
            else self.client.create_experiment(f"orch/{sweep.output_name}", artifact_location=location)
        )
        page_token = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], run_view_type=ViewType.ACTIVE_ONLY, page_token=page_token
            )
            for run in page:
                unit = run.data.tags.get("orch.unit")
                if unit:
                    self.runs[unit] = run.info.run_id
                    self.started[run.info.run_id] = run.info.start_time
                    self.mirrored[unit] = float(run.data.tags.get("orch.mirrored", "-inf"))
            page_token = page.token
            if not page_token:
                break
        self._parent()

    def _parent(self) -> None:
        """The sweep's run, with the grid as an artifact; open while the sweep is."""
        sweep = self.plan.sweep
        tags = {
            "orch.kind": "sweep",
            "orch.sweep": sweep.output_name,
            "orch.recipe": sweep.grid.recipe,
            "orch.varies": sweep.grid.varies,
        }
        run_id = self._run("sweep", f"sweep {sweep.output_name}", tags)
        self.client.update_run(run_id, status="RUNNING")
        self.client.log_text(run_id, sweep.source, "grid.yaml")

    def update(self) -> None:
        """Mirror what has changed in the store since the last call."""
        for unit in self.plan.trainings:
            if self.mirrored.get(unit.train_id) != float("inf"):
                self._mirror_training(unit)
        for cell in self.plan.cells:
            if self.mirrored.get(cell.cell_id) != float("inf"):
                self._mirror_cell(cell)

    def close(self, status: str) -> None:
        """Mirror the end state: no run is left RUNNING. `status` is FINISHED, FAILED or KILLED."""
        self.update()
        for unit, run_id in self.runs.items():
            if unit == "sweep" or self.mirrored.get(unit) == float("inf"):
                continue
            folder = self.store.training(unit)
            self.client.set_terminated(run_id, "FAILED" if folder.exists(FAILED) else "KILLED")
        self.client.set_terminated(self.runs["sweep"], status)

    def _mirror_training(self, unit: Training) -> None:
        """Create the run once training has begun, then add the curve rows it lacks."""
        folder = self.store.training(unit.train_id)
        if not folder.exists("spec.json"):
            return
        done = folder.read_json(DONE)
        run_id = self._training_run(unit, done)
        last = self.mirrored.get(unit.train_id, float("-inf"))
        choice = folder.read_json(f"selections/{unit.selection_id}.json")
        data = folder.read(CURVES_FILE)
        rows = pq.read_table(io.BytesIO(data)).to_pylist() if data else []
        metrics = [(row["name"], row["value"], row["kimg"]) for row in rows if row["kimg"] >= last]
        params = _flat(unit.experiment.model_dump(mode="json", include=set(TRAINED_SECTIONS)))
        if done and choice:
            metrics += [
                (f"selection/{choice['metric']}", value, images / 1000) for images, value in choice["scores"]
            ]
            metrics += [("selection/chosen_kimg", choice["chosen"] / 1000, 0.0)]
            self._log(run_id, metrics, {}, params)
            self._panels(run_id, folder, [images for images, _ in choice["scores"]])
            self._finish(unit.train_id, run_id, done)
            return
        reached = max((row["kimg"] for row in rows), default=last)
        self._log(run_id, metrics, {"orch.mirrored": str(reached)}, params)
        self.mirrored[unit.train_id] = reached

    def _training_run(self, unit: Training, done: dict[str, Any] | None) -> str:
        tags = {
            "orch.kind": "train",
            "orch.sweep": self.plan.sweep.output_name,
            "mlflow.parentRunId": self.runs["sweep"],
        }
        return self._run(unit.train_id, f"train {unit.label}", tags, done)

    def _panels(self, run_id: str, folder: Folder, snapshots: list[int]) -> None:
        """The last snapshot's fixed-latents panel, and the full configuration."""
        spec, panel = folder.read("spec.json"), folder.read(f"panels/images_{snapshots[-1]:010d}.png")
        if spec:
            self.client.log_text(run_id, spec.decode(), "spec.json")
        if panel:
            self._log_png(run_id, panel, "panel.png")

    def _mirror_cell(self, cell: Cell) -> None:
        folder = self.store.cell(cell.cell_id)
        done = folder.read_json(DONE)
        if done is None:
            return
        record = folder.read_json("cell.json")
        tags = {
            "orch.kind": "cell",
            "orch.sweep": self.plan.sweep.output_name,
            "orch.training": cell.training.train_id,
            "orch.sampler": cell.experiment.sample.kind,
            "mlflow.parentRunId": self.runs["sweep"],
        }
        run_id = self.runs.get(cell.cell_id) or self._run(cell.cell_id, cell.label, tags, done)
        seeds = {
            "train.seed": cell.experiment.train.seed,
            "eval.sample_seed": cell.experiment.eval.sample_seed,
        }
        measured = cell.experiment.model_dump(mode="json", include={"sample", "weights"})
        params = _flat({**measured, **cell.axes, **seeds})
        metrics = [(name, value, record["snapshot_kimg"]) for name, value in record["metrics"].items()]
        metrics += [("nfe", float(record["nfe"]), record["snapshot_kimg"])]
        self._log(run_id, metrics, {}, params)
        panel = folder.read("panel.png")
        if panel:
            self._log_png(run_id, panel, "panel.png")
        self._finish(cell.cell_id, run_id, done)

    def _finish(self, unit: str, run_id: str, done: dict[str, Any]) -> None:
        """End a run. The tag comes last: should the driver be killed before it, the unit is mirrored once
        more."""
        self.client.set_terminated(run_id, "FINISHED", end_time=_milliseconds(done["finished"]))
        self.client.set_tag(run_id, "orch.mirrored", "inf")
        self.mirrored[unit] = float("inf")

    def _run(self, unit: str, name: str, tags: dict[str, str], done: dict[str, Any] | None = None) -> str:
        """The unit's run. A new one begins now, or when the work did if that is over already."""
        if unit not in self.runs:
            start = _milliseconds(done["finished"]) - round(1000 * done["seconds"]) if done else None
            labels = {"orch.unit": unit, **tags}
            run = self.client.create_run(self.experiment_id, start_time=start, tags=labels, run_name=name)
            self.runs[unit] = run.info.run_id
            self.started[run.info.run_id] = run.info.start_time
        return self.runs[unit]

    def _log(
        self,
        run_id: str,
        metrics: list[tuple[str, float, float]],
        tags: dict[str, str],
        params: dict[str, str],
    ) -> None:
        """Metrics (name, value, kimg), tags and params in as few requests as MLflow allows; the step is in
        kimg.

        A metric's time is the run's start and a millisecond for each image: the same row always has the same
        time, so MLflow drops it when it was written just before a driver was killed.
        """
        from mlflow.entities import Metric, Param, RunTag

        start = self.started[run_id]
        entities = [
            Metric(name, value, start + round(kimg * 1000), round(kimg)) for name, value, kimg in metrics
        ]
        written = [Param(name, value[:MAX_PARAM_LENGTH]) for name, value in params.items()]
        for offset in range(METRICS_PER_BATCH, len(entities), METRICS_PER_BATCH):
            self.client.log_batch(run_id, metrics=entities[offset : offset + METRICS_PER_BATCH])
        first = entities[:METRICS_PER_BATCH]
        self.client.log_batch(
            run_id, metrics=first, params=written, tags=[RunTag(key, value) for key, value in tags.items()]
        )

    def _log_png(self, run_id: str, data: bytes, name: str) -> None:
        from PIL import Image

        self.client.log_image(run_id, Image.open(io.BytesIO(data)), name)


class LiveMirror:
    """Mirrors in a thread of the driver, off the critical path. MLflow's errors never stop a sweep."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.error: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def start(self) -> None:
        """Begin mirroring."""
        self._thread.start()

    def finish(self, status: str) -> None:
        """Stop the thread and mirror the end state."""
        self._stop.set()
        self._thread.join()
        if self.error is None:
            self._guarded(lambda: self.mirror.close(status))

    def _loop(self) -> None:
        self._guarded(self.mirror.open)
        while self.error is None and not self._stop.wait(MIRROR_SECONDS):
            self._guarded(self.mirror.update)

    def _guarded(self, action: Any) -> None:
        try:
            action()
        except Exception as error:
            self.error = error


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested dicts as dotted params."""
    flat: dict[str, str] = {}
    for name, entry in value.items():
        if isinstance(entry, dict):
            flat |= _flat(entry, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = str(entry)
    return flat


def _milliseconds(iso_time: str) -> int:
    return int(datetime.fromisoformat(iso_time).timestamp() * 1000)
