"""Mirroring beside a sweep that runs: all is there at its end, and MLflow's errors do not stop it."""

from typing import Any

import pytest
from mlflow_runs import runs

from orchestrator.planning.training import Training
from orchestrator.tracking.live_mirror import LiveMirror
from orchestrator.tracking.mirror import Mirror


def mirrored_beside_the_sweep(small: Any) -> LiveMirror:
    live = LiveMirror(Mirror(small.plan(), small.store))
    live.start()
    live.finish("FINISHED")
    return live


def test_the_live_mirror_ends_with_everything_mirrored(small: Any) -> None:
    small.finish_training(small.plan().trainings[0])
    live = mirrored_beside_the_sweep(small)
    assert live.error is None
    assert [run.info.status for run in runs(small).values()] == ["FINISHED", "FINISHED"]


def test_an_error_of_mlflow_is_kept_and_does_not_stop_the_sweep(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Mirror, unit: Training) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(Mirror, "_mirror_training", broken)
    live = mirrored_beside_the_sweep(small)
    assert str(live.error) == "no route to host"
