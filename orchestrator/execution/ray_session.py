"""A Ray session of ours: quiet, with private temporary files, and nothing left behind."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.execution.cluster import check_shared_storage, cluster_address, use_cluster_token
from orchestrator.execution.leftovers import reap_leftovers, scratch_folder
from orchestrator.storage.store import Store

QUIET_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # with verbose=0 this prints nothing
    # Also how often a worker's report is taken; the default of 2 s would be most of a small training.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
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
def ray_session(store: Store, address: str | None) -> Iterator[Any]:
    """Connect to the cluster at `address` or RAY_ADDRESS, else start Ray here; yields the ray module."""
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
