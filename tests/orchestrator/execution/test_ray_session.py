"""One driver a storage, and nothing of a killed driver stays behind. No Ray is started here."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pyarrow import fs

from orchestrator.errors import StorageBusy, UsageError
from orchestrator.execution.cluster import check_shared_storage, cluster_address
from orchestrator.execution.leftovers import reap_leftovers, scratch_folder
from orchestrator.execution.storage_lock import storage_lock
from orchestrator.storage.store import Folder, Store

HOLDER = """
import sys, time
from orchestrator.execution.storage_lock import storage_lock
from orchestrator.storage.store import Store
with storage_lock(Store.open(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python processes that do not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def holder(start: Start, storage: Path) -> "subprocess.Popen[str]":
    """Another process that holds the storage."""
    process = start(HOLDER, str(storage))
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


# The lock.


def test_a_second_driver_is_told_who_works_on_the_storage(tmp_path: Path, start: Start) -> None:
    other = holder(start, tmp_path)
    with pytest.raises(
        StorageBusy, match=rf"{tmp_path} is in use by another orch sweep \(process {other.pid}\)"
    ):
        storage_lock(Store.open(tmp_path)).__enter__()


def test_the_lock_ends_with_a_killed_holder_and_the_next_one_is_named(tmp_path: Path, start: Start) -> None:
    other = holder(start, tmp_path)
    other.send_signal(signal.SIGKILL)
    other.wait()
    with storage_lock(Store.open(tmp_path)):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_the_lock_is_free_after_use_even_after_an_error(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "new" / "runs")
    with pytest.raises(ZeroDivisionError), storage_lock(store):
        raise ZeroDivisionError
    with storage_lock(store):
        pass


def test_two_storages_do_not_hinder_each_other(tmp_path: Path) -> None:
    with storage_lock(Store.open(tmp_path / "a")), storage_lock(Store.open(tmp_path / "b")):
        owners = [(tmp_path / name / ".lock").read_text() for name in ("a", "b")]
    assert owners == [str(os.getpid())] * 2


def test_storage_that_cannot_be_written_to_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = str(tmp_path / "file" / "runs")
    store = Store(path, Folder(fs.LocalFileSystem(), path))
    with pytest.raises(UsageError, match=r"cannot write to .*/file/runs: Not a directory"):
        storage_lock(store).__enter__()


def test_remote_storage_is_not_locked() -> None:
    store = Store("mock://bucket", Folder(fs._MockFileSystem(), "bucket"))
    with storage_lock(store), storage_lock(store):
        assert not store.root.exists(".lock")


# Leftovers.


def test_processes_of_a_killed_driver_are_ended_and_others_live(tmp_path: Path, start: Start) -> None:
    scratch = tmp_path / "orch-scratch"
    (scratch / "session").mkdir(parents=True)
    sleep = "import time; print('ready', flush=True); time.sleep(60)"
    left = start(sleep, RAY_TMPDIR=str(scratch))
    others = [
        start(sleep, RAY_TMPDIR=str(tmp_path / "another")),
        start(sleep, ELSEWHERE=str(scratch)),
        start(sleep),
    ]
    for process in (left, *others):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    assert reap_leftovers(scratch) == 1
    assert not psutil.pid_exists(left.pid)
    assert [process.poll() for process in others] == [None, None, None]
    assert not scratch.exists()


def test_without_leftovers_nothing_is_ended(tmp_path: Path) -> None:
    assert reap_leftovers(tmp_path / "never made") == 0


def test_a_process_that_ends_by_itself_meanwhile_is_no_problem(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = psutil.Process(start("pass", RAY_TMPDIR=str(tmp_path)).pid)
    gone.wait(timeout=10)
    monkeypatch.setattr(psutil, "process_iter", lambda: [gone])
    monkeypatch.setattr("orchestrator.execution.leftovers._started_in", lambda process, scratch: True)
    started = time.monotonic()
    assert reap_leftovers(tmp_path / "scratch") == 1
    assert time.monotonic() - started < 5  # it is not waited for: the limit is 10 s


def test_scratch_is_private_to_a_storage_and_short_enough_for_sockets(tmp_path: Path) -> None:
    """A socket's path may have 107 characters; Ray adds about 80 of its own."""
    one, other = scratch_folder(Store.open(tmp_path / "a")), scratch_folder(Store.open(tmp_path / "b"))
    assert one != other
    assert one == scratch_folder(Store.open(tmp_path / "a"))
    assert len(one.name) <= 25


# The cluster.


def test_the_option_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "from-environment")
    assert (cluster_address("asked"), cluster_address(None)) == ("asked", "from-environment")
    monkeypatch.setenv("RAY_ADDRESS", "")
    assert cluster_address(None) is None


class OneNode:
    """As much of Ray as a cluster of one living node shows."""

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True}, {"Alive": False}]


def test_one_machine_needs_no_shared_storage(tmp_path: Path) -> None:
    check_shared_storage(OneNode(), Store.open(tmp_path))
    assert list(tmp_path.iterdir()) == []
