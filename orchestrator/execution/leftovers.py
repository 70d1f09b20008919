"""Ray's private temporary files, and the processes that a killed driver left behind."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from orchestrator.planning.identity import digest
from orchestrator.storage.store import Store


def scratch_folder(store: Store) -> Path:
    """Ray's private temporary folder for this storage; short, because sockets live in it."""
    return Path(tempfile.gettempdir()) / f"orch-{os.getuid()}-{digest(store.uri)[:8]}"


def reap_leftovers(scratch: Path) -> int:
    """Kill Ray processes that a killed driver of this storage left behind; returns how many there were.

    They are known by the RAY_TMPDIR they were started with. Call it only while holding the storage's lock.
    """
    leftovers = [process for process in psutil.process_iter() if _started_in(process, scratch)]
    for process in leftovers:
        with _gone_is_fine():
            process.kill()
    psutil.wait_procs(leftovers, timeout=10)
    shutil.rmtree(scratch, ignore_errors=True)
    return len(leftovers)


def _started_in(process: psutil.Process, scratch: Path) -> bool:
    try:
        return process.pid != os.getpid() and process.environ().get("RAY_TMPDIR") == str(scratch)
    except psutil.Error:
        return False


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except psutil.NoSuchProcess:
        return
