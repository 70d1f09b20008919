"""Where MLflow keeps what is mirrored, and what must not be there."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow_runs import mirror, runs

from orchestrator.tracking.connection import tracking_uri
from orchestrator.tracking.mirror import Mirror

SECRET = "hunter2"


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
