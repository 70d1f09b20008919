"""A tiny sweep and a store whose units' folders are
written by hand, with the files that the workers write."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console

from orchestrator import cli
from orchestrator.grid import Sweep, load_sweep
from orchestrator.planning.cell import Cell
from orchestrator.planning.plan import Plan
from orchestrator.planning.plan_record import plan_record
from orchestrator.planning.training import Training
from orchestrator.search.current_plan import whole_plan
from orchestrator.storage.store import Store

RECIPE = """
data: {name: digits}
model: {kind: ddpmpp, channels: 8, channel_mult: [1, 2], num_blocks: 1, attention_resolutions: [4],
        dropout: 0.05}
objective: {kind: edm}
train: {batch_size: 100, total_kimg: 4, snapshot_kimg: 2, lr: 0.002, lr_rampup_kimg: 1, ema_halflife_kimg: 1}
sample: {kind: heun, num_steps: 3}
eval: {num_samples: 100, batch_size: 64, selection: {sampler: {num_steps: 3}, num_samples: 64}}
"""

# At 3 steps gamma saturates above 3 (sqrt(2) - 1) = 1.24: churn 5 and 6 are one sampler, and churn 0 is Heun.
GRID = """schema: orch/grid@1
name: tiny
recipe: tiny_digits
varies: scale
off_playbook: true
axes: {model.channels: [8, 16]}
panel:
  - {kind: heun, num_steps: 3}
  - {kind: edm_stochastic, num_steps: 3, s_churn: [0, 5, 6]}
"""

# A head on a network that is trained first, and two samplers of the result.
HEAD = """schema: orch/grid@1
name: tiny
recipe: tiny_digits
varies: sampler
set:
  objective.kind: ocm
  start.objective.kind: simple
  start.train.batch_size: 100
  start.train.total_kimg: 4
  start.train.snapshot_kimg: 2
  start.train.lr: 0.002
  start.train.lr_rampup_kimg: 1
  start.train.ema_halflife_kimg: 1
  sample.kind: ddpm
axes: {sample.covariance: [ocm, beta]}
"""

ENVIRONMENT = {"device": "a test's machine", "gpu": None, "threads": 1, "python": "3.11", "packages": {}}
TRAIN_SECONDS, CELL_SECONDS = 8.0, 0.5
CELL_EVALUATIONS = 640
CURVES_KIMG = (1.0, 2.0, 3.0, 4.0)


def sweep_from(folder: Path, text: str = GRID) -> Sweep:
    """A sweep from a grid's text; the recipe lies beside it, so that shipped recipes may change."""
    (folder / "recipes").mkdir(parents=True, exist_ok=True)
    (folder / "recipes" / "tiny_digits.yaml").write_text(RECIPE)
    (folder / "grid.yaml").write_text(text)
    return load_sweep(folder / "grid.yaml")


@dataclass(frozen=True)
class FakeStore:
    """A store on a local path, written without the store's own code, and the sweep it belongs to."""

    path: Path
    sweep: Sweep
    train_seconds = TRAIN_SECONDS
    cell_seconds = CELL_SECONDS
    cell_evaluations = CELL_EVALUATIONS

    @property
    def store(self) -> Store:
        """The same place through the code under test."""
        return Store.open(self.path)

    def plan(self) -> Plan:
        """The sweep's plan against what is there now."""
        return whole_plan(self.sweep, self.store)

    def changed(self, old: str, new: str, varies: str | None = None) -> "FakeStore":
        """The same store under a grid whose text has `new` in
        the place of `old` and may vary another knob group."""
        text = self.sweep.source
        assert old in text
        text = text.replace(old, new)
        if varies:
            text = text.replace(f"varies: {self.sweep.grid.varies}", f"varies: {varies}")
        return FakeStore(self.path, sweep_from(self.sweep.path.parent, text))

    def save_plan(self) -> None:
        """What the driver writes before it runs anything."""
        self.json(f"sweeps/{self.sweep.output_name}/plan.json", plan_record(self.plan()).to_json())

    def json(self, name: str, value: Any) -> None:
        """Write a JSON file."""
        self.bytes(name, json.dumps(value).encode())

    def bytes(self, name: str, data: bytes) -> None:
        """Write a file."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_bytes(data)

    def begin(self, unit: Training, kimg: tuple[float, ...] = CURVES_KIMG) -> None:
        """A training that has reached the last of `kimg`."""
        folder, rows = f"train/{unit.train_id}", curve_rows(kimg)
        columns = [[unit.train_id] * len(rows), *map(list, zip(*rows, strict=True))]
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns, names=["train_id", "kimg", "name", "value"]), buffer)
        self.json(f"{folder}/spec.json", unit.experiment.model_dump(mode="json"))
        self.bytes(f"{folder}/curves.parquet", buffer.getvalue())

    def finish_training(self, unit: Training, *, select: bool = True) -> None:
        """A finished training, with or without the choice of its snapshot."""
        folder = f"train/{unit.train_id}"
        self.begin(unit)
        self.bytes(f"{folder}/panels/images_{4000:010d}.png", png())
        self.json(f"{folder}/DONE.json", done_record(TRAIN_SECONDS, train_id=unit.train_id))
        if select:
            choice = {"metric": "fd_classifier", "scores": [[2000, 9.0], [4000, 7.0]], "chosen": 4000}
            self.json(f"{folder}/selections/{unit.selection_id}.json", {**choice, "runner_up": 2000})

    def finish_cell(self, cell: Cell, *, done: bool = True, distance: float = 7.5) -> None:
        """A measured cell; without `done` its worker was killed before the last file."""
        folder = f"cells/{cell.cell_id}"
        record = {
            "cell_id": cell.cell_id,
            "train_id": cell.training.train_id,
            "experiment": cell.experiment.model_dump(mode="json"),
            "sampler": cell.experiment.sample.canonical().form,
            "snapshot_kimg": 4.0,
            "metrics": {
                "fd_classifier": distance,
                "precision": 0.5,
                "recall": 0.25,
                "seconds_per_image": 0.01,
            },
            "nfe": cell.experiment.sample.nfe,
            "num_params": 12_345,
            "extractor_sha256": "e" * 64,
            "reference_id": "r" * 64,
        }
        self.bytes(f"{folder}/panel.png", png())
        self.json(f"{folder}/cell.json", record)
        if done:
            identity = {"cell_id": cell.cell_id, "evaluations": CELL_EVALUATIONS}
            self.json(f"{folder}/DONE.json", done_record(CELL_SECONDS, **identity))

    def fail(self, folder: str, message: str) -> None:
        """A unit that recorded why it failed."""
        self.json(f"{folder}/FAILED.json", {"message": message, "finished": "2026-01-02T03:05:00+00:00"})

    def finish_everything(self) -> None:
        """All units of the sweep, and the data set as a worker saw it."""
        plan = self.plan()
        for unit in plan.trainings:
            self.finish_training(unit)
        for cell in plan.cells:
            self.finish_cell(cell)
        data = {"name": "digits", "sha256": "d" * 64, "num_images": 1797}
        self.json("references/digits-classifier/data.json", data)


def curve_rows(kimg: tuple[float, ...]) -> list[tuple[float, str, float]]:
    """Curves as a training writes them: (kimg, name, value)."""
    return [
        row
        for reached in kimg
        for row in ((reached, "train/loss", 10 / reached), (reached, "train/lr", 0.002))
    ]


def done_record(seconds: float, **identity: Any) -> dict[str, Any]:
    """Content of a DONE.json."""
    return {
        **identity,
        "seconds": seconds,
        "environment": ENVIRONMENT,
        "finished": "2026-01-02T03:04:05+00:00",
    }


def png() -> bytes:
    """A grey picture."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 90).save(buffer, "PNG")
    return buffer.getvalue()


class PlainConsole(Console):
    """A console that is no terminal and wide enough to keep every line whole."""

    def __init__(self) -> None:
        self.written = io.StringIO()
        super().__init__(file=self.written, width=400)

    @property
    def text(self) -> str:
        """Everything that was printed."""
        return self.written.getvalue()


@pytest.fixture
def console() -> PlainConsole:
    """Keeps what is printed as text."""
    return PlainConsole()


@pytest.fixture(scope="session")
def fake_in() -> Callable[[Path], FakeStore]:
    """Makes the tiny sweep with an empty store in a folder."""
    return lambda folder: FakeStore(folder / "runs", sweep_from(folder))


@pytest.fixture
def fake(tmp_path: Path, fake_in: Callable[[Path], FakeStore]) -> FakeStore:
    """The tiny sweep with an empty store."""
    return fake_in(tmp_path)


@pytest.fixture
def head(tmp_path: Path) -> FakeStore:
    """A sweep whose training starts from another one, with an empty store."""
    return FakeStore(tmp_path / "runs", sweep_from(tmp_path, HEAD))


@pytest.fixture
def finished(fake: FakeStore) -> FakeStore:
    """The tiny sweep with every unit finished."""
    fake.finish_everything()
    fake.save_plan()
    return fake


@pytest.fixture
def orch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Runs a command line in a folder of its own: (exit code, output, errors)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["orch", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        written = capsys.readouterr()
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, written.out, written.err

    return run
