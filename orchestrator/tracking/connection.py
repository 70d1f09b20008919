"""Where MLflow keeps what is mirrored, and the experiment of a sweep there."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from engine.records import paths
from orchestrator.storage.store import Store

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT_PREFIX = "orch/"
"""Experiments of sweeps, among others that a server may hold."""


def tracking_uri(store: Store) -> str:
    """MLFLOW_TRACKING_URI, else a sqlite file in the storage; for a remote storage, in the working folder."""
    configured = os.environ.get("MLFLOW_TRACKING_URI")
    if configured:
        return configured
    return f"sqlite:///{(store.local_path or Path.cwd()) / paths.MLFLOW_DATABASE}"


def connect(store: Store) -> "MlflowClient":
    """A client of the storage's MLflow, whose libraries warn but do not chat."""
    from mlflow.tracking import MlflowClient

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=tracking_uri(store))


def experiment_of(client: "MlflowClient", sweep_name: str, store: Store) -> str:
    """Id of a sweep's experiment, which is created if it is not there.

    Beside the embedded database its artifacts lie in the storage too; a server has a place of its own.
    """
    name = f"{EXPERIMENT_PREFIX}{sweep_name}"
    known = client.get_experiment_by_name(name)
    if known:
        return str(known.experiment_id)
    embedded = tracking_uri(store).startswith("sqlite") and store.local_path is not None
    location = f"file://{store.local_path}/{paths.MLFLOW_ARTIFACTS}" if embedded else None
    return str(client.create_experiment(name, artifact_location=location))
