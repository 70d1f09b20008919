"""The view of a running sweep: counts, an ETA by cost, plain lines, and a log of every attempt."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from orchestrator.console import progress as module
from orchestrator.console.progress import Progress
from orchestrator.formatting import clock
from orchestrator.planning.unit import Unit

TRAIN = {"state": "train", "kimg": 2.0, "loss": 0.5, "images_per_second": 1234.0}
DONE, FAILED = {"state": "done"}, {"state": "failed", "message": "loss is not finite"}


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock's seconds, in a list of one that a test sets."""
    seconds = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: seconds[0])
    return seconds


def units(fake: Any) -> list[Unit]:
    """Two trainings and four cells."""
    plan = fake.plan()
    trainings = [Unit.of_training(unit, str(fake.path), None, 1) for unit in plan.trainings]
    return trainings + [Unit.of_cell(cell, str(fake.path), None, 1) for cell in plan.cells]


def view(
    fake: Any, console: Console, seconds: list[float], slots: dict[str, int]
) -> tuple[Progress, list[Unit]]:
    """A view that predicts these seconds for the units."""
    found = units(fake)
    predicted = {unit.unit_id: cost for unit, cost in zip(found, seconds, strict=True)}
    trainings = frozenset(unit.unit_id for unit in found if unit.kind == "train")
    return Progress(console, fake.store.sweep("tiny"), predicted, slots, trainings), found


def attempts(fake: Any) -> list[dict[str, Any]]:
    lines = (fake.path / "sweeps/tiny/attempts.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


# The ETA.


def test_eta_weighs_what_is_left_by_cost_and_corrects_predictions(
    fake: Any, console: Any, wall: list[float]
) -> None:
    shown, (first, second, *_) = view(fake, console, [100, 300, 10, 10, 10, 10], {"train": 1, "sample": 2})
    with shown:
        assert shown.eta_seconds() is None  # nothing has been measured
        shown.unit_started(first)
        wall[0] = 200  # twice as slow as predicted
        shown.unit_reported(first, DONE)
        shown.unit_ended(first)
        assert shown.eta_seconds() == 600 + 4 * 20 / 2
        shown.unit_started(second)
        wall[0] = 350
        assert shown.eta_seconds() == 600 - 150 + 4 * 20 / 2


def test_eta_lets_trainings_wait_for_their_own_places(fake: Any, console: Any, wall: list[float]) -> None:
    """With two workers a training, one training runs at a time though two cells do:
    a waiting one is no cell."""
    shown, (first, _, *cells) = view(fake, console, [100, 100, 10, 10, 10, 10], {"train": 1, "sample": 2})
    with shown:
        shown.unit_started(cells[0])
        wall[0] = 10
        shown.unit_reported(cells[0], DONE)
        shown.unit_ended(cells[0])
        shown.unit_started(first)
        assert shown.eta_seconds() == 100 + 100 + 3 * 10 / 2


def test_eta_never_counts_failed_units_or_overdue_time(fake: Any, console: Any, wall: list[float]) -> None:
    shown, (first, second, *_) = view(fake, console, [100, 100, 0, 0, 0, 0], {"train": 2, "sample": 2})
    with shown:
        shown.unit_started(first)
        shown.unit_started(second)
        wall[0] = 100
        shown.unit_reported(first, DONE)
        shown.unit_ended(first)
        wall[0] = 900  # the second should have ended long ago
        assert shown.eta_seconds() == 0
        shown.unit_died(second)
        assert shown.eta_seconds() == 0


def test_units_that_were_not_predicted_do_not_distort_the_eta(
    fake: Any, console: Any, wall: list[float]
) -> None:
    shown, (first, second, *cells) = view(fake, console, [100, 100, 0, 0, 0, 0], {"train": 1, "sample": 1})
    del shown.predicted[cells[0].unit_id]
    with shown:
        shown.unit_started(cells[0])
        wall[0] = 5000
        shown.unit_reported(cells[0], DONE)
        shown.unit_ended(cells[0])
        assert shown.eta_seconds() is None
        shown.unit_started(first)
        wall[0] = 5100
        shown.unit_reported(first, DONE)
        shown.unit_ended(first)
        assert shown.eta_seconds() == 100
    assert second.unit_id in shown.predicted


# What is seen.


def test_a_pipe_gets_plain_lines_and_no_live_view(fake: Any, console: Any, wall: list[float]) -> None:
    shown, (first, _, cell, *_) = view(fake, console, [1, 1, 1, 1, 1, 1], {"train": 1, "sample": 1})
    with shown:
        assert shown.live is None
        shown.unit_started(first)
        shown.unit_reported(first, TRAIN)
        wall[0] = 12.34
        shown.unit_reported(first, DONE)
        shown.unit_ended(first)
        shown.unit_started(cell)
        shown.unit_reported(cell, {**DONE, "fd_classifier": 7.5})
        shown.unit_ended(cell)
    assert console.text.splitlines() == [
        "train  channels 8: 2 of 4 kimg, loss 0.5, 1,234 images/s",
        "train  channels 8: done in 12.3 s (1 done, 0 running, 5 left)",
        "sample channels 8 · Heun 3: done in 0.0 s (2 done, 0 running, 4 left)",
    ]


def test_a_terminal_gets_one_live_view_that_is_taken_away(fake: Any, wall: list[float]) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=200)
    shown, (first, _, cell, *_) = view(fake, terminal, [1, 1, 1, 1, 1, 1], {"train": 1, "sample": 1})
    with shown:
        assert shown.live is not None
        assert shown.live.is_started
        shown.unit_started(first)
        shown.unit_reported(first, TRAIN)
        shown.unit_started(cell)
        plain = Console(file=io.StringIO(), width=200)
        plain.print(shown)
    assert isinstance(plain.file, io.StringIO)
    text = plain.file.getvalue()
    assert "0 done, 2 running, 4 left" in text
    assert "channels 8: 2 of 4 kimg, loss 0.5, 1,234 images/s" in text
    assert "sampling 1 cell" in text
    assert not shown.live.is_started


def test_failed_units_are_counted_and_shown_as_they_were_told(
    fake: Any, console: Any, wall: list[float]
) -> None:
    """A message may hold square brackets, which rich would read as styles."""
    shown, (first, second, *_) = view(fake, console, [1, 1, 1, 1, 1, 1], {"train": 1, "sample": 1})
    with shown:
        shown.unit_started(first)
        shown.unit_reported(first, {"state": "failed", "message": "[/data] has no [bold] file"})
        shown.unit_ended(first)
        shown.unit_started(second)
        shown.unit_died(second)
        assert shown._counts() == "0 done, 2 failed, 0 running, 4 left"
    assert f"failed train channels 8 ({first.unit_id}): [/data] has no [bold] file" in console.text
    assert f"({second.unit_id}): its process died repeatedly (killed, or out of memory)" in console.text


def test_a_failure_without_a_message_is_a_failure(fake: Any, console: Any, wall: list[float]) -> None:
    shown, (first, *_) = view(fake, console, [1, 1, 1, 1, 1, 1], {"train": 1, "sample": 1})
    with shown:
        shown.unit_started(first)
        shown.unit_reported(first, {"state": "failed", "message": ""})
        shown.unit_ended(first)
    assert (list(shown.failed), list(shown.done)) == ([first.unit_id], [])


# The log.


def test_every_attempt_is_a_row_with_its_time_and_outcome(fake: Any, console: Any, wall: list[float]) -> None:
    shown, (first, second, cell, *_) = view(fake, console, [1, 1, 1, 1, 1, 1], {"train": 2, "sample": 1})
    with shown:
        shown.unit_started(first)
        shown.unit_started(first)  # its process died, Tune starts it again
        wall[0] = 2.0
        shown.unit_reported(first, DONE)
        shown.unit_ended(first)
        shown.unit_started(cell)
        shown.unit_reported(cell, FAILED)
        shown.unit_ended(cell)
        shown.unit_started(second)
        shown.unit_died(second)
    rows = attempts(fake)
    assert [(row["unit"], row["kind"], row["state"]) for row in rows] == [
        (first.unit_id, "train", "started"),
        (first.unit_id, "train", "started"),
        (first.unit_id, "train", "done"),
        (cell.unit_id, "sample", "started"),
        (cell.unit_id, "sample", "failed"),
        (second.unit_id, "train", "started"),
        (second.unit_id, "train", "failed"),
    ]
    assert rows[2]["seconds"] == 2.0
    assert rows[4]["message"] == "loss is not finite"
    assert all(row["time"].endswith("+00:00") for row in rows)


def test_a_training_stopped_at_a_checkpoint_is_not_done(fake: Any, console: Any, wall: list[float]) -> None:
    """After Ctrl-C Tune completes a trial at its next report, whatever that report says."""
    shown, (first, *_) = view(fake, console, [1, 1, 1, 1, 1, 1], {"train": 1, "sample": 1})
    with shown:
        shown.unit_started(first)
        shown.unit_reported(first, TRAIN)
        shown.unit_ended(first)
    assert (shown.done, shown.failed) == ({}, {})
    assert [row["state"] for row in attempts(fake)] == ["started", "stopped"]
    assert "train  channels 8: stopped, to be continued" in console.text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (45.4, "45 s"), (59.7, "1 min 00 s"), (200, "3 min 20 s"), (599.9, "10 min"),
        (3600, "60 min"), (18_600, "5 h 10 min"), (7199, "2 h 00 min"),
        (12 * 86_400, "12 days"), (1e9, "11,574 days"),
    ],
)  # fmt: skip
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert clock(seconds) == words
