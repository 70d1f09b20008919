"""What MLflow holds of a sweep, for tests: mirrored into a database of its own and read again."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from orchestrator.tracking.connection import tracking_uri
from orchestrator.tracking.mirror import Mirror


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
