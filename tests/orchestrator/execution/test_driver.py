"""`orch sweep` around the units: nothing runs when nothing
is missing, and everything is brought up to date."""

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import Interrupted, StorageBusy, UnitsFailed
from orchestrator.execution import driver, mirroring
from orchestrator.execution.driver import run_sweep
from orchestrator.execution.finishing import newly_finished
from orchestrator.execution.options import Options
from orchestrator.execution.storage_lock import storage_lock
from orchestrator.planning.plan_record import plan_record


@pytest.fixture(autouse=True)
def without_mlflow_and_report(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts how often MLflow and the report would have been made; both have tests of their own."""
    calls = {"mirror": 0, "report": 0}

    def mirror_now(plan: Any, store: Any) -> None:
        calls["mirror"] += 1
        store.root.write("mlflow.db", b"")

    def build_report(folder: Path, storage: Path) -> Path:
        calls["report"] += 1
        (folder / "report").mkdir(exist_ok=True)
        (folder / "report" / "report.html").write_text("report")
        return folder / "report" / "report.html"

    class NoMirror:
        error = None

        def __init__(self, mirror: Any) -> None:
            self.mirror = mirror

        def start(self) -> None:
            pass

        def finish(self, status: str) -> None:
            calls[status] = calls.get(status, 0) + 1

    monkeypatch.setattr(mirroring, "mirror_now", mirror_now)
    monkeypatch.setattr("orchestrator.tracking.live_mirror.LiveMirror", NoMirror)
    monkeypatch.setattr("reports.build.build_report", build_report)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return calls


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What Ray would do: a function that tests replace."""

    class Worker:
        work: Any = None

    def run_plan(plan: Any, options: Options, folder: Any) -> None:
        assert Worker.work is not None, "there was nothing to run"
        Worker.work(plan)

    monkeypatch.setattr(driver, "run_plan", run_plan)
    return Worker


def sweep(fake: Any, console: Any) -> Path | None:
    return run_sweep(fake.sweep, Options(fake.store, None, None, console))


def counts(fake: Any) -> dict[str, int]:
    told: dict[str, int] = json.loads((fake.path / "sweeps/tiny/manifest.json").read_text())["counts"]
    return told


def test_a_first_run_does_everything_and_a_second_changes_no_file(
    fake: Any, console: Any, worker: Any, without_mlflow_and_report: dict[str, int]
) -> None:
    worker.work = lambda plan: fake.finish_everything()
    report = sweep(fake, console)
    assert report == fake.path / "sweeps/tiny/report/report.html"
    assert (counts(fake)["run_cells"], counts(fake)["run_trainings"]) == (4, 2)
    assert (fake.path / "sweeps/tiny/grid.yaml").read_text() == fake.sweep.source
    assert json.loads((fake.path / "speed.json").read_text())["digits/ddpmpp"]
    sweep(fake, console)  # MLflow was made by the run's own mirror; here it is only stood in for
    before = {path: path.read_bytes() for path in fake.path.rglob("*") if path.is_file()}
    calls = dict(without_mlflow_and_report)
    worker.work = None
    assert sweep(fake, console) == report
    assert {path: path.read_bytes() for path in fake.path.rglob("*") if path.is_file()} == before
    assert without_mlflow_and_report == calls


def test_a_deleted_mlflow_database_comes_back_without_running_anything(
    finished: Any, console: Any, worker: Any, without_mlflow_and_report: dict[str, int]
) -> None:
    sweep(finished, console)
    (finished.path / "mlflow.db").unlink()
    sweep(finished, console)
    sweep(finished, console)
    assert without_mlflow_and_report["mirror"] == 2


def test_a_deleted_report_comes_back_without_running_anything(
    finished: Any, console: Any, worker: Any
) -> None:
    report = sweep(finished, console)
    assert report is not None
    report.unlink()
    assert sweep(finished, console) == report
    assert report.exists()


def test_failed_units_are_raised_after_tables_and_report_are_written(
    fake: Any, console: Any, worker: Any, without_mlflow_and_report: dict[str, int]
) -> None:
    cell = fake.plan().cells[0]

    def all_but_one(plan: Any) -> None:
        fake.finish_everything()
        (fake.path / cell.done_file).unlink()
        fake.fail(f"cells/{cell.cell_id}", "out of memory")

    worker.work = all_but_one
    with pytest.raises(
        UnitsFailed, match=rf"1 units are missing, 1 of them failed.*\n  {cell.cell_id}: out of memory"
    ):
        sweep(fake, console)
    assert (counts(fake)["failed"], counts(fake)["run_cells"]) == (1, 3)
    assert without_mlflow_and_report == {"mirror": 0, "report": 1, "FAILED": 1}


def test_an_interrupted_run_keeps_what_was_finished(
    fake: Any, console: Any, worker: Any, without_mlflow_and_report: dict[str, int]
) -> None:
    def stopped(plan: Any) -> None:
        fake.finish_training(plan.trainings[0])
        fake.finish_cell(plan.cells[0])
        raise Interrupted("stopped as asked")

    worker.work = stopped
    with pytest.raises(Interrupted):
        sweep(fake, console)
    assert (counts(fake)["run_cells"], counts(fake)["run_trainings"]) == (1, 1)
    assert without_mlflow_and_report == {"mirror": 0, "report": 1, "KILLED": 1}


def test_a_sweep_without_any_result_has_no_report(fake: Any, console: Any, worker: Any) -> None:
    worker.work = lambda plan: None
    with pytest.raises(UnitsFailed, match="6 units are missing, 0 of them failed"):
        sweep(fake, console)
    assert not (fake.path / "sweeps/tiny/report").exists()
    assert counts(fake)["cells"] == 4


def test_a_second_driver_writes_nothing(fake: Any, console: Any, worker: Any) -> None:
    with storage_lock(fake.store), pytest.raises(StorageBusy):
        sweep(fake, console)
    assert [path.name for path in fake.path.iterdir()] == [".lock"]


def test_the_plan_is_written_as_json_that_names_every_unit_once(fake: Any) -> None:
    record = json.loads(json.dumps(plan_record(fake.plan()).to_json()))
    assert [unit["state"] for unit in record["trainings"]] == ["train", "train"]
    assert len({cell["cell_id"] for cell in record["cells"]}) == 4
    assert sum(len(cell["points"]) for cell in record["cells"]) == record["points"] == 8


def test_the_plan_names_a_parent_with_the_sections_that_make_its_weights(head: Any) -> None:
    record = json.loads(json.dumps(plan_record(head.plan()).to_json()))
    parent, child = record["trainings"]
    assert (parent["label"], parent["experiment"]["start"]) == ("start training", None)
    assert child["experiment"]["start"]["objective"] == parent["experiment"]["objective"]
    assert {cell["train_id"] for cell in record["cells"]} == {child["train_id"]}
    assert [cell["weights"] for cell in record["cells"]] == [{"kind": "ema", "halflife_kimg": None}] * 2


def test_a_head_whose_parent_failed_is_missing_and_tried_again_later(
    head: Any, console: Any, worker: Any
) -> None:
    parent, _ = head.plan().trainings
    worker.work = lambda plan: head.fail(f"train/{parent.train_id}", "the loss is nan")
    with pytest.raises(
        UnitsFailed, match=rf"4 units are missing, 1 of them failed.*\n  {parent.train_id}: the loss"
    ):
        sweep(head, console)
    worker.work = lambda plan: head.finish_everything()
    sweep(head, console)
    assert (counts(head)["run_trainings"], counts(head)["failed"]) == (2, 0)


def test_work_is_counted_by_what_was_finished_between_two_plans(fake: Any) -> None:
    before = fake.plan()
    fake.finish_training(before.trainings[0], select=False)
    fake.finish_training(before.trainings[1])
    fake.finish_cell(before.cells[2])
    assert newly_finished(before, fake.plan()) == {"trainings": 1, "cells": 1}
