"""One quiet live view of a sweep; plain lines when the output is no terminal."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engine.records import paths
from engine.records.attempts import Attempt
from orchestrator.formatting import clock
from orchestrator.planning.unit import Unit
from orchestrator.storage.store import Folder, now
from reports.formatting import counted

MEASURING_SECONDS = 0.5
"""Predicted seconds of a cell whose images are there already."""


@dataclass
class Running:
    """A unit at work."""

    unit: Unit
    started: float
    total_kimg: float
    kimg: float = 0.0
    loss: float | None = None
    images_per_second: float | None = None
    state: str = "started"
    failure: str = ""


@dataclass
class Progress:
    """Counts units, predicts the end by cost, shows it, and appends every attempt to the sweep's log.

    `predicted` maps each unit to be run to its predicted seconds: the weights of the ETA. `slots` tells how
    many units of a kind (train, sample) run at once, `trainings` which units are trainings.
    """

    console: Console
    folder: Folder
    predicted: dict[str, float]
    slots: dict[str, int]
    trainings: frozenset[str] = frozenset()
    running: dict[str, Running] = field(default_factory=dict)
    done: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    live: Live | None = None

    def __enter__(self) -> "Progress":
        """Start the live view on a terminal."""
        self.begun = time.monotonic()
        if self.console.is_terminal:
            self.live = Live(self, console=self.console, refresh_per_second=2, transient=True)
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Take the live view away."""
        if self.live:
            self.live.stop()

    def expect_shared_runs(self, cells: Sequence[str], shared_runs: Sequence[str]) -> None:
        """Some cells' images will be sampled in shared runs, where their predicted seconds will be spent."""
        seconds = sum(self.predicted.pop(cell, 0.0) for cell in cells)
        self.predicted |= dict.fromkeys(shared_runs, seconds / len(shared_runs))
        self.predicted |= dict.fromkeys(cells, MEASURING_SECONDS)

    def unit_started(self, unit: Unit) -> None:
        """A unit begins, or begins again after its process died."""
        self.running[unit.unit_id] = Running(unit, time.monotonic(), unit.spec.train.total_kimg)
        self._log(unit, "started")

    def unit_reported(self, unit: Unit, report: dict[str, Any]) -> None:
        """A unit tells how far it is, or that it failed."""
        entry = self.running[unit.unit_id]
        entry.state = report.get("state", entry.state)
        if entry.state == "failed":
            entry.failure = report["message"]
        elif "kimg" in report:
            entry.kimg = report["kimg"]
            entry.loss = report["loss"]
            entry.images_per_second = report["images_per_second"]
            self._say(f"train  {unit.label}: {self._training_line(entry)}")

    def unit_ended(self, unit: Unit) -> None:
        """A unit ends: done, failed by its own account, or stopped at a checkpoint because the user asked."""
        entry = self.running.pop(unit.unit_id)
        if entry.state == "failed":
            self._fail(unit, entry.failure)
            return
        if entry.state != "done":
            self._log(unit, "stopped")
            self._say(f"{unit.kind:6} {unit.label}: stopped, to be continued")
            return
        self.done[unit.unit_id] = time.monotonic() - entry.started
        self._log(unit, "done", seconds=round(self.done[unit.unit_id], 3))
        self._say(f"{unit.kind:6} {unit.label}: done in {self.done[unit.unit_id]:.1f} s ({self._counts()})")

    def unit_died(self, unit: Unit) -> None:
        """A unit's process died more often than it is retried."""
        self.running.pop(unit.unit_id, None)
        self._fail(unit, "its process died repeatedly (killed, or out of memory)")

    def eta_seconds(self) -> float | None:
        """Seconds to the end: the predicted cost of what is left, times how well predictions have held."""
        known = self.done.keys() & self.predicted.keys()
        spent_predicted = sum(self.predicted[name] for name in known)
        if not spent_predicted:
            return None
        accuracy = sum(self.done[name] for name in known) / spent_predicted
        left: dict[str, float] = {"train": 0.0, "sample": 0.0}
        for name, seconds in self.predicted.items():
            if name not in self.done and name not in self.failed:
                kind = "train" if name in self.trainings else "sample"
                left[kind] += max(0.0, seconds * accuracy - self._elapsed(name))
        return sum(seconds / max(1, self.slots[kind]) for kind, seconds in left.items())

    def __rich__(self) -> Group:
        """The live view: a bar for all units, a line for each that runs."""
        total = max(1, len(self.predicted))
        head = Table.grid(padding=(0, 1))
        eta = self.eta_seconds()
        ending = (
            f"about {clock(eta)} left"
            if eta is not None
            else f"{clock(time.monotonic() - self.begun)} so far"
        )
        head.add_row(ProgressBar(total, len(self.done) + len(self.failed), width=30), self._counts(), ending)
        lines = [
            Text(f"  {entry.unit.label}: {self._training_line(entry)}", "dim") for entry in self._trainings()
        ]
        sampling = len(self.running) - len(lines)
        if sampling:
            lines.append(Text(f"  sampling {counted(sampling, 'cell')}", "dim"))
        return Group(head, *lines)

    def _trainings(self) -> list[Running]:
        return [entry for entry in self.running.values() if entry.unit.kind == "train"]

    def _training_line(self, entry: Running) -> str:
        if entry.loss is None:
            return "starting"
        return (
            f"{entry.kimg:,.0f} of {entry.total_kimg:,.0f} kimg, loss {entry.loss:.4g}, "
            f"{entry.images_per_second:,.0f} images/s"
        )

    def _elapsed(self, name: str) -> float:
        return time.monotonic() - self.running[name].started if name in self.running else 0.0

    def _counts(self) -> str:
        failed = f", {len(self.failed)} failed" if self.failed else ""
        left = len(self.predicted) - len(self.done) - len(self.failed) - len(self.running)
        return f"{len(self.done)} done{failed}, {len(self.running)} running, {max(0, left)} left"

    def _fail(self, unit: Unit, message: str) -> None:
        self.failed[unit.unit_id] = message
        self._log(unit, "failed", message=message)
        line = escape(f"{unit.kind} {unit.label} ({unit.unit_id}): {message}")
        self.console.print(f"[red]failed[/red] {line}", highlight=False)

    def _log(
        self, unit: Unit, state: str, *, seconds: float | None = None, message: str | None = None
    ) -> None:
        attempt = Attempt(
            time=now(), unit=unit.unit_id, kind=unit.kind, state=state, seconds=seconds, message=message
        )
        self.folder.append(paths.ATTEMPTS, attempt.to_line())

    def _say(self, line: str) -> None:
        if self.live is None:
            self.console.print(line, highlight=False, markup=False)
