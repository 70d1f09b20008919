"""Run `orch` as a user does, on grids small enough for tests."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from orchestrator.execution.leftovers import scratch_folder
from orchestrator.storage.store import Store

ORCH = str(Path(sys.executable).with_name("orch"))

RECIPE = """\
data: {name: digits}
model: {kind: ddpmpp, channels: 8, channel_mult: [1], num_blocks: 1, attention_resolutions: [], dropout: 0.1}
objective: {kind: edm}
train: {batch_size: 32, microbatch_size: 16, total_kimg: 3.84, snapshot_kimg: 0.64, lr: 2e-3,
        lr_rampup_kimg: 0.1, ema_halflife_kimg: 0.2}
sample: {kind: heun, num_steps: 4}
eval: {extractor: classifier, num_samples: 96, batch_size: 32,
       selection: {sampler: {num_steps: 3}, num_samples: 64}}
"""

GRID = """\
schema: orch/grid@1
name: tiny
recipe: tiny
varies: scale
off_playbook: true
axes: {model.channels: [8]}
panel:
  - {kind: heun, num_steps: 4}
  - {kind: edm_stochastic, num_steps: 4, s_churn: 1, s_tmax: 10}
"""


@dataclass(frozen=True)
class Workplace:
    """A folder with a recipe, a grid and a storage."""

    root: Path

    @classmethod
    def make(cls, root: Path, grid: str = GRID, recipe: str = RECIPE) -> "Workplace":
        (root / "recipes").mkdir(parents=True)
        (root / "recipes" / "tiny.yaml").write_text(recipe)
        (root / "grid.yaml").write_text(grid)
        return cls(root)

    @property
    def storage(self) -> Path:
        return self.root / "runs"

    @property
    def sweep_folder(self) -> Path:
        return self.storage / "sweeps" / "tiny"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [ORCH, "sweep", str(self.root / "grid.yaml"), "--storage", str(self.storage), *arguments]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_"))
        }
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )

    def sweep(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=300)
        return process.returncode, output

    def attempts(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.sweep_folder / "attempts.jsonl").read_text().splitlines()]

    def done_units(self) -> list[str]:
        return [row["unit"] for row in self.attempts() if row["state"] == "done"]

    def results(self) -> dict[tuple[str, str], float]:
        """(cell, metric) -> value of every row, without timings; repeated rows fail the test."""
        rows = pq.read_table(self.sweep_folder / "results.parquet").to_pylist()
        table = {(row["cell_id"], row["metric"]): row["value"] for row in rows}
        assert len(table) == len(rows)
        return {key: value for key, value in table.items() if key[1] != "seconds_per_image"}

    def losses(self) -> list[tuple[float, float]]:
        rows = pq.read_table(self.sweep_folder / "curves.parquet").to_pylist()
        return sorted((row["kimg"], row["value"]) for row in rows if row["name"] == "train/loss")

    def panels(self) -> dict[str, bytes]:
        return {path.parent.name: path.read_bytes() for path in self.storage.glob("cells/*/panel.png")}

    def snapshots(self) -> list[Path]:
        return sorted(self.storage.glob("train/*/snapshots/*.safetensors"))

    def ray_processes(self) -> list[psutil.Process]:
        """Processes that Ray started for this storage."""
        return processes_of(scratch_folder(Store.open(self.storage)))


def processes_of(ray_folder: Path) -> list[psutil.Process]:
    """Living processes that were started with this folder as Ray's."""
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.environ().get("RAY_TMPDIR") == str(ray_folder)
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


@contextmanager
def running_cluster() -> Iterator[str]:
    """A Ray cluster of one node with two cores; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    command = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--head",
        f"--port={port}",
        "--num-cpus=2",
    ]
    try:
        subprocess.run(
            [*command, "--include-dashboard=false", "--disable-usage-stats"],
            env={**os.environ, "RAY_TMPDIR": str(folder)},
            check=True,
            capture_output=True,
            timeout=120,
        )
        yield f"127.0.0.1:{port}"
    finally:
        started = processes_of(folder)
        for process in started:
            process.kill()
        psutil.wait_procs(started, timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 200) -> None:
    """Wait until the condition holds; fails when the process ends first."""
    limit = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < limit, "waited too long"
        time.sleep(0.05)


def kill_9(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    assert process.stdout is not None
    process.stdout.close()
