"""Sweeps whose MLflow is a fresh database in their own storage."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow_runs import mirror, with_database


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
