"""`orch status`: what is finished, failed and missing, read from the store alone."""

from typing import Any

import pytest

from orchestrator.console.status_view import show_status
from orchestrator.errors import UsageError


def lines(console: Any) -> list[list[str]]:
    """The printed table, without its head, as words."""
    return [line.split() for line in console.text.splitlines()[1:]]


def test_an_empty_storage_says_how_to_begin(fake: Any, console: Any) -> None:
    show_status(fake.store, None, console)
    assert console.text == f"no sweeps in {fake.path} yet; start one: orch sweep grids/quickstart.yaml\n"


def test_every_sweep_is_a_line_with_its_counts(finished: Any, console: Any) -> None:
    cells = finished.plan().cells
    (finished.path / cells[0].done_file).unlink()
    finished.fail(f"cells/{cells[1].cell_id}", "an earlier failure of a unit that is finished by now")
    (finished.path / cells[2].done_file).unlink()
    finished.fail(f"cells/{cells[2].cell_id}", "out of memory")
    show_status(finished.store, None, console)
    head, tiny, hint = console.text.splitlines()
    assert head.split() == ["sweep", "trainings", "cells", "failed", "report"]
    assert tiny.split() == ["tiny", "2", "/", "2", "2", "/", "4", "1", "no"]
    assert hint == f"next: orch status SWEEP, or orch report {finished.path}/sweeps/SWEEP"


def test_a_sweep_with_a_report_says_so(finished: Any, console: Any) -> None:
    finished.bytes("sweeps/tiny/report/report.html", b"<html>")
    show_status(finished.store, None, console)
    assert lines(console)[0][-1] == "yes"


def test_units_of_a_sweep_are_finished_failed_with_a_reason_or_missing(fake: Any, console: Any) -> None:
    plan = fake.plan()
    fake.finish_training(plan.trainings[0])
    fake.finish_cell(plan.cells[0])
    fake.fail(f"train/{plan.trainings[1].train_id}", "no [/data] left")
    fake.save_plan()
    show_status(fake.store, "tiny", console)
    narrow, wide, deterministic, stochastic, *_ = lines(console)
    assert narrow == [plan.trainings[0].train_id[:8], "train", "channels", "8", "finished"]
    assert wide == [
        plan.trainings[1].train_id[:8],
        "train",
        "channels",
        "16",
        *["failed:", "no", "[/data]", "left"],
    ]
    assert deterministic == [
        plan.cells[0].cell_id[:8],
        "sample",
        *["channels", "8", "·", "Heun", "3", "finished"],
    ]
    assert stochastic[-1] == "missing"


def test_a_training_without_its_snapshot_is_not_finished(fake: Any, console: Any) -> None:
    for unit in fake.plan().trainings:
        fake.finish_training(unit, select=False)
    fake.save_plan()
    show_status(fake.store, "tiny", console)
    assert [line[-1] for line in lines(console)[:2]] == ["missing", "missing"]


def test_an_unknown_sweep_lists_those_there_are(finished: Any, console: Any) -> None:
    with pytest.raises(UsageError, match=f"no sweep 'other' in {finished.path}; there are: tiny"):
        show_status(finished.store, "other", console)


@pytest.mark.parametrize("name", ["../tiny", "/", "tiny/..", ""])
def test_a_name_that_is_a_path_is_an_unknown_sweep(finished: Any, console: Any, name: str) -> None:
    with pytest.raises(UsageError, match="no sweep"):
        show_status(finished.store, name, console)


def test_a_sweep_that_was_stopped_before_its_plan_does_not_hide_the_others(
    finished: Any, console: Any
) -> None:
    finished.bytes("sweeps/stopped/grid.yaml", b"")
    show_status(finished.store, None, console)
    assert [line[0] for line in lines(console)] == ["tiny", "next:"]


def test_a_parent_counts_as_a_training_and_is_told_apart_from_its_child(head: Any, console: Any) -> None:
    head.finish_training(head.plan().trainings[0])
    head.save_plan()
    show_status(head.store, None, console)
    assert lines(console)[0][:7] == ["tiny", "1", "/", "2", "0", "/", "2"]
    show_status(head.store, "tiny", console)
    parent, child, *cells = lines(console)[-4:]
    assert parent[1:] == ["train", "start", "training", "finished"]
    assert child[1:] == ["train", "the", "recipe", "missing"]
    assert [cell[-2] for cell in cells] == ["ocm", "beta"]


def test_a_training_that_overfits_is_named_below_its_sweep(finished: Any, console: Any) -> None:
    unit = finished.plan().trainings[0]
    finished.begin(unit, tuple(map(float, range(1, 13))))  # the loss falls throughout
    scores = [[1000 * kimg, 4.0 + abs(kimg - 6)] for kimg in range(1, 13)]
    choice = {"metric": "fd_classifier", "scores": scores, "chosen": 6000, "runner_up": 7000}
    finished.json(f"train/{unit.train_id}/selections/{unit.selection_id}.json", choice)
    show_status(finished.store, "tiny", console)
    said = " ".join(" ".join(console.text.split()).rsplit("finished", 1)[1].split())
    assert said.startswith(
        f"channels 8 ({unit.train_id[:8]}) overfits from 6 to 12 kimg: the loss still fell by 0."
    )
