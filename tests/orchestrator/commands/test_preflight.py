"""A sweep that cannot end well is refused before anything is started."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from engine.data.registry import DATASETS
from orchestrator.commands.preflight import refuse_hopeless_sweep
from orchestrator.errors import UsageError
from orchestrator.execution.options import Options
from orchestrator.grid import load_sweep
from orchestrator.grid.recipe import PACKAGED
from orchestrator.planning import machine
from orchestrator.planning.duration import search_share, trained_share
from orchestrator.search.current_plan import current_plan
from orchestrator.storage.store import Store

LONG = "panel:", "set: {train.total_kimg: 1000000, train.snapshot_kimg: 1000000}\npanel:"


@pytest.fixture(autouse=True)
def plain_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores, no GPU, no cluster."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(machine, "cpu_count", lambda: 2)
    monkeypatch.setattr(machine, "gpu_count", lambda: 0)


def check(
    sweep: Any, store: Any, data_root: Path | None = None, address: str | None = None, force: bool = False
) -> None:
    refuse_hopeless_sweep(sweep, Options(store, data_root, address, Console()), Path("g.yaml"), force=force)


def refusal(*arguments: Any, **named: Any) -> str:
    with pytest.raises(UsageError) as caught:
        check(*arguments, **named)
    return str(caught.value)


def is_accepted(sweep: Any, store: Any) -> bool:
    """Whether the sweep may start."""
    try:
        check(sweep, store)
    except UsageError:
        return False
    return True


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Store]:
    """The churn grid on CIFAR-10, on a machine that has the GPUs."""
    monkeypatch.setattr(machine, "gpu_count", lambda: 8)
    monkeypatch.setattr(machine, "cpu_count", lambda: 64)
    return load_sweep(PACKAGED / "edm_stochastic.yaml"), Store.open(tmp_path / "runs")


def data_set(root: Path) -> Path:
    """A data root with CIFAR-10's files, all of them empty."""
    for name in DATASETS["cifar10"].files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize("smoke", [False, True])
def test_the_quickstart_is_never_refused(smoke: bool, tmp_path: Path) -> None:
    assert is_accepted(load_sweep(PACKAGED / "quickstart.yaml", smoke=smoke), Store.open(tmp_path))


@pytest.mark.parametrize("name", ["edm_stochastic", "unet_channels", "dropout_schedule"])
def test_smoke_runs_need_no_data_and_are_never_refused(name: str, tmp_path: Path) -> None:
    assert is_accepted(load_sweep(PACKAGED / f"{name}.yaml", smoke=True), Store.open(tmp_path))


def test_a_missing_data_set_is_named_with_the_way_out(cifar: tuple[Any, Store]) -> None:
    words = refusal(*cifar)
    assert "the data set cifar10 is not there (no data root given: cifar-10-batches-py/data_batch_1" in words
    assert "give its folder with --data-root or ORCH_DATA_ROOT" in words
    assert "this sweep is 1 training and " in words
    assert words.endswith("try it small first: orch sweep g.yaml --smoke")


def test_an_incomplete_data_root_is_named_and_no_force_helps(
    cifar: tuple[Any, Store], tmp_path: Path
) -> None:
    root = data_set(tmp_path / "data")
    (root / "cifar-10-batches-py/batches.meta").unlink()
    words = refusal(*cifar, data_root=root, address="auto", force=True)
    assert f"({root}: cifar-10-batches-py/batches.meta missing)" in words


def test_days_of_work_are_refused_unless_forced(cifar: tuple[Any, Store], tmp_path: Path) -> None:
    root = data_set(tmp_path / "data")
    words = refusal(*cifar, data_root=root)
    assert "h 41 min on 8 GPU workers here" in words
    assert "use a cluster (--address), or --yes to start anyway" in words
    check(*cifar, data_root=root, force=True)


def test_a_cluster_may_work_for_days(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    long = fake.changed(*LONG).sweep
    assert "--smoke" in refusal(long, fake.store)
    check(long, fake.store, address="auto")
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    check(long, fake.store)


def test_workers_that_this_machine_lacks_are_refused_even_when_forced(fake: Any) -> None:
    """They would wait for each other for ever."""
    for asked in ("{gpus_per_worker: 1}", "{workers: 3}", "{cpus_per_worker: 4}"):
        sweep = fake.changed("panel:", f"resources: {asked}\npanel:").sweep
        assert "use a cluster (--address), or change `resources`" in refusal(sweep, fake.store, force=True)


def test_a_finished_sweep_is_never_refused(finished: Any) -> None:
    assert is_accepted(finished.changed("panel:", "resources: {workers: 99}\npanel:").sweep, finished.store)


def test_a_finished_search_is_never_refused(fake: Any) -> None:
    """What of its grid it has not asked for is no work that is left."""
    text = fake.sweep.source
    rest = "enumerate: coordinate\naxes: {model.channels: [8, 16], train.lr: [0.002, 0.004]}\n"
    search = fake.changed(text[text.index("axes:") :], rest + "resources: {workers: 99}\n")
    assert "change `resources`" in refusal(search.sweep, search.store)
    while (plan := current_plan(search.sweep, search.store)).missing_cells:
        for unit in plan.missing_trainings:
            search.finish_training(unit)
        for cell in plan.missing_cells:
            search.finish_cell(cell, distance=float(cell.experiment.model.channels))
    assert len(plan.cells) < len(search.plan().cells)
    check(search.sweep, search.store)


def test_a_search_is_judged_by_its_trials_and_not_by_its_grid(fake: Any) -> None:
    """A hundred models of some hours each would take days, two of them less than one."""
    rates = [number / 1e4 for number in range(1, 101)]
    grid = fake.changed("model.channels: [8, 16]", f"train.lr: {rates}")
    long = grid.changed("panel:", "set: {train.total_kimg: 20000, train.snapshot_kimg: 20000}\npanel:")
    assert "100 trainings and 200 cells" in refusal(long.sweep, fake.store)
    check(long.changed("panel:", "search: {num_trials: 2}\npanel:").sweep, fake.store)


def test_a_search_among_samplers_needs_its_one_training_whole(fake: Any) -> None:
    text = fake.sweep.source
    axes = "search: {num_trials: 1}\naxes: {sample.num_steps: [2, 3, 4, 5, 6, 7, 8, 9]}\n"
    search = fake.changed(text[text.index("axes:") :], axes, varies="sampler")
    assert (search_share(search.sweep), trained_share(search.sweep)) == (1 / 8, 1.0)
    mixed = fake.changed(text[text.index("panel:") :], "search: {num_trials: 1}\n")
    assert (search_share(mixed.sweep), trained_share(mixed.sweep)) == (1 / 2, 1 / 2)


def test_a_parent_counts_among_the_trainings_until_it_is_there(head: Any) -> None:
    long = head.changed("start.train.total_kimg: 4", "start.train.total_kimg: 1000000")
    assert "this sweep is 2 trainings and 2 cells, about " in refusal(long.sweep, head.store)
    long.finish_training(long.plan().trainings[0])
    check(long.sweep, head.store)


def test_a_smoke_run_is_not_advised_to_try_a_smoke_run(fake: Any) -> None:
    overlay = fake.sweep.path.parent / "smoke/tiny_digits.yaml"
    overlay.parent.mkdir()
    overlay.write_text("train: {total_kimg: 1000000, snapshot_kimg: 1000000}")
    assert "--smoke" not in refusal(load_sweep(fake.sweep.path, smoke=True), fake.store)
