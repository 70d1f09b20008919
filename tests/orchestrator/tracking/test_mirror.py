"""MLflow mirrors the store: completely and once. A real MLflow on sqlite, no server."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow_runs import artifacts, everything, history, mirror, runs

from orchestrator.tracking.mirror import Mirror


def test_a_run_for_the_sweep_is_parent_of_one_for_each_training_and_cell(mirrored: Any) -> None:
    plan, found = mirrored.plan(), runs(mirrored)
    kinds = dict.fromkeys((unit.train_id for unit in plan.trainings), "train")
    kinds |= dict.fromkeys((cell.cell_id for cell in plan.cells), "cell")
    assert {unit: run.data.tags["orch.kind"] for unit, run in found.items()} == {"sweep": "sweep", **kinds}
    assert {found[unit].data.tags["mlflow.parentRunId"] for unit in kinds} == {found["sweep"].info.run_id}
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    cell, run = plan.cells[1], found[plan.cells[1].cell_id]
    assert (run.data.tags["orch.training"], run.info.run_name) == (cell.training.train_id, cell.label)


def test_metrics_of_a_training_are_its_curves_and_its_selection(mirrored: Any) -> None:
    run = runs(mirrored)[mirrored.plan().trainings[0].train_id]
    assert {"model.channels": "8", "train.lr": "0.002"}.items() <= run.data.params.items()
    assert history(mirrored, run) == {
        "train/loss": [(1, 10.0), (2, 5.0), (3, 10 / 3), (4, 2.5)],
        "train/lr": [(1, 0.002), (2, 0.002), (3, 0.002), (4, 0.002)],
        "selection/fd_classifier": [(2, 9.0), (4, 7.0)],
        "selection/chosen_kimg": [(0, 4.0)],
    }
    assert artifacts(mirrored, run) == ["panel.png", "spec.json"]


def test_a_cell_has_its_metrics_its_sampler_its_seeds_and_its_panel(mirrored: Any) -> None:
    run = runs(mirrored)[mirrored.plan().cells[1].cell_id]
    metrics = {"fd_classifier": 7.5, "precision": 0.5, "recall": 0.25, "seconds_per_image": 0.01, "nfe": 5.0}
    assert run.data.metrics == metrics
    params = {"sample.kind": "edm_stochastic", "sample.s_churn": "5.0", "model.channels": "8"}
    assert {**params, "train.seed": "0", "eval.sample_seed": "0"}.items() <= run.data.params.items()
    assert artifacts(mirrored, run) == ["panel.png"]


def test_a_run_lasts_as_long_as_its_work(mirrored: Any) -> None:
    found, plan = runs(mirrored), mirrored.plan()
    worked = {
        plan.trainings[0].train_id: mirrored.train_seconds,
        plan.cells[0].cell_id: mirrored.cell_seconds,
    }
    for unit, seconds in worked.items():
        assert found[unit].info.end_time - found[unit].info.start_time == seconds * 1000


def test_mirroring_twice_changes_nothing(mirrored: Any) -> None:
    before = everything(mirrored)
    mirror(mirrored)
    assert everything(mirrored) == before


def test_a_deleted_database_is_rebuilt_with_the_same_content(
    mirrored: Any, empty_database: Path, fake_in: Any, tmp_path: Path
) -> None:
    """The rebuilt one is another file: MLflow keeps a deleted one open for the rest of the process."""
    rebuilt = fake_in(tmp_path)
    shutil.copytree(mirrored.path, rebuilt.path, ignore=shutil.ignore_patterns("mlflow.db", "artifacts"))
    shutil.copy(empty_database, rebuilt.path / "mlflow.db")
    mirror(rebuilt)
    assert everything(rebuilt) == everything(mirrored)


def test_curves_grow_with_the_training_and_no_row_comes_twice(small: Any) -> None:
    (unit,), made = small.plan().trainings, Mirror(small.plan(), small.store)
    made.open()
    assert set(runs(small)) == {"sweep"}  # nothing has begun
    for reached in ((1.0,), (1.0, 2.0, 3.0)):
        small.begin(unit, reached)
        made.update()
        made.update()
        run = runs(small)[unit.train_id]
        assert run.info.status == "RUNNING"
        assert history(small, run)["train/loss"] == [(round(kimg), 10 / kimg) for kimg in reached]


class Killed(BaseException):
    """Stands for kill -9 of the driver."""


def kill_after(small: Any, monkeypatch: pytest.MonkeyPatch, action: str, unit: str) -> None:
    """A driver that dies right after MLflow did one kind of thing for a unit."""
    from mlflow.tracking import MlflowClient

    original, made = getattr(MlflowClient, action), Mirror(small.plan(), small.store)

    def last(self: Any, first: str, *arguments: Any, **named: Any) -> Any:
        done = original(self, first, *arguments, **named)
        if action == "create_run" or first == made.runs.ids.get(unit):
            raise Killed
        return done

    made.open()
    monkeypatch.setattr(MlflowClient, action, last)
    with pytest.raises(Killed):
        made.update()
    monkeypatch.undo()


MOMENTS = ["train create_run", "train log_batch", "train set_terminated", "cell create_run", "cell log_image"]


@pytest.mark.parametrize("moment", [*MOMENTS, "cell set_tag"])
def test_a_driver_killed_at_any_moment_loses_and_doubles_nothing(
    small: Any, mirrored: Any, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    plan, (kind, action) = small.plan(), moment.split()
    small.finish_training(plan.trainings[0])
    if kind == "cell":
        small.finish_cell(plan.cells[0])
    unit = plan.trainings[0].train_id if kind == "train" else plan.cells[0].cell_id
    kill_after(small, monkeypatch, action, unit)
    mirror(small)
    assert everything(small)[unit] == everything(mirrored)[unit]


def test_a_training_left_running_by_a_killed_driver_ends(small: Any) -> None:
    unit = small.plan().trainings[0]
    small.begin(unit, (1.0,))
    killed = Mirror(small.plan(), small.store)
    killed.open()
    killed.update()
    assert {run.info.status for run in runs(small).values()} == {"RUNNING"}
    mirror(small, "KILLED")
    assert {run.info.status for run in runs(small).values()} == {"KILLED"}
    small.fail(f"train/{unit.train_id}", "out of memory")
    mirror(small, "FAILED")
    assert {run.info.status for run in runs(small).values()} == {"FAILED"}
    small.finish_training(unit)
    mirror(small)
    assert {run.info.status for run in runs(small).values()} == {"FINISHED"}


def test_units_that_a_grown_grid_adds_join_the_same_sweep(small: Any) -> None:
    small.finish_training(small.plan().trainings[0])
    mirror(small)
    before = everything(small)
    grown = small.changed("[8]", "[8, 4]")
    grown.finish_training(grown.plan().trainings[1])
    mirror(grown)
    after = everything(grown)
    assert (len(after), {unit: after[unit] for unit in before}) == (len(before) + 1, before)


def test_more_metrics_than_one_request_holds_are_all_there(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.tracking.runs.METRICS_PER_BATCH", 3)
    unit = small.plan().trainings[0]
    small.finish_training(unit)
    mirror(small)
    assert sum(map(len, history(small, runs(small)[unit.train_id]).values())) == 4 + 4 + 2 + 1


# The thread beside the sweep.
