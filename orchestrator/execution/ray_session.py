"""A Ray session of ours: one driver a storage, private temporary files, and nothing left behind by a killed
driver."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from orchestrator.errors import StorageBusy, UsageError
from orchestrator.planning.identity import digest
from orchestrator.storage.store import Store

QUIET_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # with verbose=0 this prints nothing
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # also how often a worker's report is taken; the default is 2 s
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours: Tune's handler returns as if all had gone well
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_maximum_startup_concurrency": "16",  # trial drivers need no core of their own
}


SCRATCH_IN_STORE = ".ray"
"""Where Ray keeps its own files of a session, seen by every node; never read again."""


@contextmanager
def storage_lock(store: Store) -> Iterator[None]:
    """Hold the storage for this driver; the system releases it even after kill -9.

    Remote storage cannot be locked this way: there, one driver at a time is the user's promise.
    Raises StorageBusy when another driver works on the same storage, UsageError when it cannot be written to.
    """
    if store.local_path is None:
        yield
        return
    try:
        store.local_path.mkdir(parents=True, exist_ok=True)
        handle = (store.local_path / ".lock").open("a+")
    except OSError as error:
        raise UsageError(f"cannot write to {store.uri}: {error.strerror}") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            owner = handle.read().strip() or "unknown"
            raise StorageBusy(
                f"{store.uri} is in use by another orch sweep (process {owner}); wait for it or use --storage"
            ) from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def scratch_folder(store: Store) -> Path:
    """Ray's private temporary folder for this storage; short, because sockets live in it."""
    return Path(tempfile.gettempdir()) / f"orch-{os.getuid()}-{digest(store.uri)[:8]}"


def reap_leftovers(scratch: Path) -> int:
    """Kill Ray processes that an earlier, killed driver of this storage left behind; returns how many there
    were.

    They are known by the RAY_TMPDIR they were started with. Call it only while holding the storage's lock.
    """
    leftovers = [process for process in psutil.process_iter() if _started_in(process, scratch)]
    for process in leftovers:
        with _gone_is_fine():
            process.kill()
    psutil.wait_procs(leftovers, timeout=10)
    shutil.rmtree(scratch, ignore_errors=True)
    return len(leftovers)


@contextmanager
def ray_session(store: Store, address: str | None) -> Iterator[Any]:
    """Connect to the cluster at `address` or RAY_ADDRESS, else start Ray on this machine; yields the ray
    module."""
    scratch = scratch_folder(store)
    reap_leftovers(scratch)
    scratch.mkdir(parents=True, exist_ok=True)
    os.environ.update(QUIET_RAY, RAY_TMPDIR=str(scratch))
    use_cluster_token()
    import ray

    address = cluster_address(address)
    try:
        if address:
            packages = [
                str(Path(__file__).resolve().parents[2] / name)
                for name in ("engine", "orchestrator", "reports")
            ]
            runtime = {"py_modules": packages, "env_vars": QUIET_RAY}
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", runtime_env=runtime)
        else:
            cpus = len(os.sched_getaffinity(0))
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
            )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UsageError(f"cannot start Ray{f' at {address}' if address else ''}: {error}") from None
    try:
        check_shared_storage(ray, store)
        yield ray
    finally:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)
        store.root.delete_folder(SCRATCH_IN_STORE)


def cluster_address(address: str | None) -> str | None:
    """The cluster asked for: the option, else RAY_ADDRESS; None is this machine."""
    return address or os.environ.get("RAY_ADDRESS") or None


def use_cluster_token() -> None:
    """Show the cluster's token when this user has one; left alone, Ray sends none and is turned away."""
    known = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if known or (Path.home() / ".ray" / "auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def check_shared_storage(ray: Any, store: Store) -> None:
    """UsageError when some node of the cluster does not see the local path the results are to be written
    to."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if store.local_path is None or len(nodes) < 2:
        return
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    token = f".node-check-{os.getpid()}"
    store.root.write(token, b"")
    probe = ray.remote(num_cpus=0)(os.path.exists)
    try:
        strategies = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
        path = str(store.local_path / token)
        sees = ray.get(
            [probe.options(scheduling_strategy=there).remote(path) for there in strategies], timeout=60
        )
        blind = {node["NodeManagerHostname"] for node, answer in zip(nodes, sees, strict=True) if not answer}
    finally:
        store.root.delete(token)
    if blind:
        raise UsageError(
            f"{store.uri} is not shared: {', '.join(sorted(blind))} cannot see it; "
            "use a path on shared storage or a URI such as s3://..."
        )


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
