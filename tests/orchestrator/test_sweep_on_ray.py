"""Whole sweeps on a local Ray: what is finished stays, what is missing runs, whatever dies in between."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from mlflow.tracking import MlflowClient
from sweep_runner import GRID, Workplace, kill_9, running_cluster, wait_for

pytestmark = pytest.mark.ray

HEAD_RECIPE = """\
data: {name: digits}
model: {kind: ddpmpp, channels: 8, channel_mult: [1], num_blocks: 1, attention_resolutions: [], dropout: 0.1}
objective: {kind: ocm}
start:
  objective: {kind: simple}
  train: {batch_size: 32, total_kimg: 1.28, snapshot_kimg: 0.64, lr: 2e-3, lr_rampup_kimg: 0.1,
          ema_halflife_kimg: 0.2}
train: {batch_size: 32, total_kimg: 0.64, snapshot_kimg: 0.64, lr: 2e-3, lr_rampup_kimg: 0,
        ema_halflife_kimg: 0.1}
sample: {kind: ddpm, num_steps: 3, covariance: ocm}
eval: {extractor: classifier, num_samples: 96, batch_size: 32,
       selection: {sampler: {num_steps: 3}, num_samples: 64}}
"""
HEAD_GRID = """\
schema: orch/grid@1
name: tiny
recipe: tiny
varies: sampler
axes: {sample.covariance: [ocm, beta, analytic]}
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A sweep that nobody disturbed: what all others must agree with."""
    work = Workplace.make(tmp_path_factory.mktemp("undisturbed"))
    code, output = work.sweep()
    assert code == 0, output
    return work


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Workplace]:
    work = Workplace.make(tmp_path / "work")
    yield work
    assert work.ray_processes() == []


def mlflow_runs(work: Workplace) -> list[tuple[str, str, str]]:
    """(kind, unit, status) of every run."""
    client = MlflowClient(f"sqlite:///{work.storage}/mlflow.db")
    experiment = client.get_experiment_by_name("orch/tiny")
    runs = client.search_runs([experiment.experiment_id])
    return sorted((run.data.tags["orch.kind"], run.data.tags["orch.unit"], run.info.status) for run in runs)


def assert_same_as(work: Workplace, undisturbed: Workplace) -> None:
    assert work.results() == undisturbed.results()
    assert work.losses() == undisturbed.losses()
    assert work.panels() == undisturbed.panels()
    assert mlflow_runs(work) == mlflow_runs(undisturbed)


def test_a_sweep_trains_once_measures_every_cell_and_mirrors_all_of_it(undisturbed: Workplace) -> None:
    assert (
        len(undisturbed.done_units()) == 5
    )  # a training, two passes that draw images for both cells, the cells
    metrics = {"fd_classifier", "precision", "recall", "density", "coverage"}
    assert {metric for _, metric in undisturbed.results()} == metrics
    assert [kind for kind, _, _ in mlflow_runs(undisturbed)] == ["cell", "cell", "sweep", "train"]
    assert {status for _, _, status in mlflow_runs(undisturbed)} == {"FINISHED"}
    assert (undisturbed.sweep_folder / "report" / "report.html").stat().st_size > 10_000
    assert undisturbed.ray_processes() == []
    assert not (undisturbed.storage / ".ray").exists()


def test_the_same_sweep_again_runs_nothing_and_an_added_value_runs_only_what_is_new(tmp_path: Path) -> None:
    work = Workplace.make(tmp_path / "work")
    assert work.sweep()[0] == 0
    first, before = work.attempts(), work.results()
    report = (work.sweep_folder / "report" / "report.html").stat().st_mtime_ns
    code, output = work.sweep()
    assert code == 0, output
    assert work.attempts() == first
    assert (work.sweep_folder / "report" / "report.html").stat().st_mtime_ns == report

    (work.root / "grid.yaml").write_text(
        GRID.replace("{kind: heun, num_steps: 4}", "{kind: heun, num_steps: [4, 5]}")
    )
    code, output = work.sweep()
    assert code == 0, output
    assert len(work.done_units()) == len([row for row in first if row["state"] == "done"]) + 1
    assert {key: work.results()[key] for key in before} == before


def test_kill_9_of_the_driver_loses_nothing_and_leaves_nothing(
    work: Workplace, undisturbed: Workplace
) -> None:
    process = work.start()
    wait_for(lambda: len(work.snapshots()) >= 2, process)
    kill_9(process)
    kept = {path: path.stat().st_mtime_ns for path in work.snapshots()[:1]}
    code, output = work.sweep()
    assert code == 0, output
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items()), (
        "trained again from the start"
    )
    assert_same_as(work, undisturbed)


def test_kill_9_of_a_training_worker_resumes_from_its_checkpoint(
    work: Workplace, undisturbed: Workplace
) -> None:
    process = work.start()
    wait_for(lambda: len(work.snapshots()) >= 2, process)
    workers = [p for p in work.ray_processes() if "RayTrainWorker" in " ".join(p.cmdline())]
    assert workers, [p.cmdline() for p in work.ray_processes()]
    kept = work.snapshots()[0].stat().st_mtime_ns
    for worker in workers:
        worker.kill()
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert work.snapshots()[0].stat().st_mtime_ns == kept
    assert_same_as(work, undisturbed)


def test_ctrl_c_stops_at_the_next_checkpoint_with_130_and_the_sweep_goes_on_later(
    work: Workplace, undisturbed: Workplace
) -> None:
    process = work.start()
    wait_for(lambda: len(work.snapshots()) >= 1, process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert len(work.snapshots()) < 6
    assert "RUNNING" not in {status for _, _, status in mlflow_runs(work)}
    code, output = work.sweep()
    assert code == 0, output
    assert_same_as(work, undisturbed)


def test_two_workers_give_the_results_of_one(work: Workplace, undisturbed: Workplace) -> None:
    (work.root / "grid.yaml").write_text(GRID + "resources: {workers: 2}\n")
    code, output = work.sweep()
    assert code == 0, output
    assert_same_as(work, undisturbed)


def test_the_same_command_uses_a_running_cluster(work: Workplace, undisturbed: Workplace) -> None:
    with running_cluster() as address:
        code, output = work.sweep("--address", address)
        assert code == 0, output
    assert_same_as(work, undisturbed)


def test_a_cell_does_not_depend_on_which_others_run(work: Workplace, undisturbed: Workplace) -> None:
    alone = GRID.replace("  - {kind: heun, num_steps: 4}\n", "")
    (work.root / "grid.yaml").write_text(alone)
    code, output = work.sweep()
    assert code == 0, output
    assert len(work.panels()) == 1
    assert work.panels().items() <= undisturbed.panels().items()
    assert work.results().items() <= undisturbed.results().items()


def test_a_failing_unit_is_named_with_exit_code_1_and_the_others_finish(work: Workplace) -> None:
    pairs = "zip: [{model.channels: [8, 12], train.lr: [2e-3, 1e30]}]"
    (work.root / "grid.yaml").write_text(GRID.replace("axes: {model.channels: [8]}", pairs))
    code, output = work.sweep()
    assert code == 1
    assert "the loss is" in output
    assert "Traceback" not in output
    assert len(work.panels()) == 2
    kinds = [(kind, status) for kind, _, status in mlflow_runs(work)]
    assert ("train", "FAILED") in kinds
    assert "RUNNING" not in {status for _, status in kinds}


def test_a_head_is_trained_after_its_parent_and_sampled_with_every_covariance(tmp_path: Path) -> None:
    work = Workplace.make(tmp_path / "work", HEAD_GRID, HEAD_RECIPE)
    code, output = work.sweep()
    assert code == 0, output
    parent, child, *cells = work.done_units()
    of_parent, of_child = (
        json.loads((work.storage / "train" / unit / "spec.json").read_text()) for unit in (parent, child)
    )
    assert (of_parent["objective"]["kind"], of_parent["start"]) == ("simple", None)
    assert of_child["start"]["objective"] == of_parent["objective"]
    records = [json.loads((work.storage / "cells" / cell / "cell.json").read_text()) for cell in cells]
    assert {record["train_id"] for record in records} == {child}
    assert sorted(record["experiment"]["sample"]["covariance"] for record in records) == [
        "analytic",
        "beta",
        "ocm",
    ]
    assert len({work.results()[cell, "fd_classifier"] for cell in cells}) == 3
    assert [kind for kind, _, _ in mlflow_runs(work)] == ["cell", "cell", "cell", "sweep", "train", "train"]
    attempts = work.attempts()
    code, output = work.sweep()
    assert code == 0, output
    assert work.attempts() == attempts


def test_a_search_runs_its_number_of_points_and_goes_on_where_it_stopped(work: Workplace) -> None:
    grid = """\
schema: orch/grid@1
name: tiny
recipe: tiny
varies: sampler
off_playbook: true
set: {sample.kind: edm_stochastic, sample.num_steps: 3}
axes: {sample.s_churn: [0, 0.2, 0.4, 0.6], sample.s_noise: [1, 1.01]}
search: {name: optuna, num_trials: 3, metric: fd_classifier}
"""
    (work.root / "grid.yaml").write_text(grid)
    code, output = work.sweep()
    assert code == 0, output
    trials = (work.sweep_folder / "search.jsonl").read_text().splitlines()
    assert len(trials) == 3
    attempts = work.attempts()
    assert work.sweep()[0] == 0
    assert work.attempts() == attempts
    (work.root / "grid.yaml").write_text(grid.replace("num_trials: 3", "num_trials: 5"))
    code, output = work.sweep()
    assert code == 0, output
    assert (work.sweep_folder / "search.jsonl").read_text().splitlines()[:3] == trials
    assert len((work.sweep_folder / "search.jsonl").read_text().splitlines()) == 5
    assert len(list(work.storage.glob("train/*/DONE.json"))) == 1


def test_a_second_driver_on_the_same_storage_is_refused(work: Workplace) -> None:
    process = work.start()
    wait_for(
        lambda: (work.storage / ".lock").exists() and (work.storage / ".lock").read_text() != "", process
    )
    code, output = work.sweep()
    assert code == 2
    assert str(process.pid) in output
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    for leftover in work.ray_processes():
        psutil.wait_procs([leftover], timeout=20)
