"""MLflow mirrors the store: completely, once, and without secrets. A real MLflow on sqlite, no server."""

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.planning.training import Training
from orchestrator.tracking.connection import tracking_uri
from orchestrator.tracking.live_mirror import LiveMirror
from orchestrator.tracking.mirror import Mirror

SECRET = "hunter2"


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A database with MLflow's tables, and no server configured:
    making them takes seconds, copying does not."""
    from mlflow.tracking import MlflowClient

    path: Path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
        yield path


@pytest.fixture(scope="module")
def mirrored(empty_database: Path, fake_in: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished sweep, mirrored once; tests only look at it."""
    made = with_database(fake_in(tmp_path_factory.mktemp("mirrored")), empty_database)
    made.finish_everything()
    mirror(made)
    return made


@pytest.fixture
def small(fake: Any, empty_database: Path) -> Any:
    """One training and its two cells, not begun, and an empty MLflow."""
    return with_database(fake.changed("[8, 16]", "[8]"), empty_database)


def with_database(fake: Any, database: Path) -> Any:
    """Put an empty MLflow into the storage."""
    fake.path.mkdir()
    shutil.copy(database, fake.path / "mlflow.db")
    return fake


def mirror(fake: Any, status: str = "FINISHED") -> Mirror:
    """Mirror the sweep's end state as a driver does."""
    made = Mirror(fake.plan(), fake.store)
    made.open()
    made.close(status)
    return made


def client(fake: Any) -> Any:
    """MLflow's own view."""
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=tracking_uri(fake.store))


def runs(fake: Any) -> dict[str, Any]:
    """Every run of the sweep's experiment by its unit; a unit with two runs fails."""
    experiment = client(fake).get_experiment_by_name("orch/tiny")
    found = client(fake).search_runs([experiment.experiment_id])
    units = [run.data.tags["orch.unit"] for run in found]
    assert [unit for unit, count in Counter(units).items() if count > 1] == []
    return dict(zip(units, found, strict=True))


def history(fake: Any, run: Any) -> dict[str, list[tuple[int, float]]]:
    """Every metric of a run: (step, value) in order."""
    read = client(fake).get_metric_history
    names = run.data.metrics
    return {
        name: sorted((entry.step, entry.value) for entry in read(run.info.run_id, name)) for name in names
    }


def artifacts(fake: Any, run: Any) -> list[str]:
    return sorted(file.path for file in client(fake).list_artifacts(run.info.run_id))


def everything(fake: Any) -> dict[str, Any]:
    """What MLflow holds, without what names the database alone."""
    found = runs(fake)
    named = {run.info.run_id: unit for unit, run in found.items()}
    return {
        unit: {
            "status": run.info.status,
            "name": run.info.run_name,
            "params": run.data.params,
            "parent": named.get(run.data.tags.get("mlflow.parentRunId")),
            "tags": {key: value for key, value in run.data.tags.items() if key.startswith("orch.")},
            "metrics": history(fake, run),
            "artifacts": artifacts(fake, run),
        }
        for unit, run in found.items()
    }


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


# Where, and what must not be there.


def test_the_database_lies_in_the_storage_unless_one_is_configured(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking_uri(small.store) == f"sqlite:///{small.path}/mlflow.db"
    elsewhere = f"sqlite:///{tmp_path}/elsewhere.db"
    shutil.move(small.path / "mlflow.db", tmp_path / "elsewhere.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", elsewhere)
    mirror(small)
    assert (tracking_uri(small.store), set(runs(small))) == (elsewhere, {"sweep"})
    assert not (small.path / "mlflow.db").exists()


def test_no_credentials_reach_mlflow(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment, command and storage carry a password; none of it is written down."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setattr("sys.argv", ["orch", "sweep", "g.yaml", "--storage", f"s3://me:{SECRET}@host/bucket"])
    small.finish_training(small.plan().trainings[0])
    made = Mirror(small.plan(), replace(small.store, uri=f"s3://me:{SECRET}@host/bucket"))
    made.open()
    made.close("FINISHED")
    assert SECRET not in str([run.to_dictionary() for run in runs(small).values()])
    assert SECRET.encode() not in (small.path / "mlflow.db").read_bytes()


# The thread beside the sweep.


def mirrored_beside_the_sweep(small: Any) -> LiveMirror:
    live = LiveMirror(Mirror(small.plan(), small.store))
    live.start()
    live.finish("FINISHED")
    return live


def test_the_live_mirror_ends_with_everything_mirrored(small: Any) -> None:
    small.finish_training(small.plan().trainings[0])
    live = mirrored_beside_the_sweep(small)
    assert live.error is None
    assert [run.info.status for run in runs(small).values()] == ["FINISHED", "FINISHED"]


def test_an_error_of_mlflow_is_kept_and_does_not_stop_the_sweep(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Mirror, unit: Training) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(Mirror, "_mirror_training", broken)
    live = mirrored_beside_the_sweep(small)
    assert str(live.error) == "no route to host"
