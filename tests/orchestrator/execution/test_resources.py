"""How much runs at once: never so much that workers wait
for each other, never something that cannot start."""

from typing import Any

import pytest

ray = pytest.importorskip("ray")

from orchestrator.errors import UsageError  # noqa: E402
from orchestrator.execution.job import Job  # noqa: E402
from orchestrator.execution.ray_session import check_shared_storage  # noqa: E402
from orchestrator.execution.run_units import generations  # noqa: E402
from orchestrator.grid import Resources  # noqa: E402
from orchestrator.storage.store import Store  # noqa: E402


def job(monkeypatch: pytest.MonkeyPatch, cluster: dict[str, float], **resources: Any) -> Job:
    monkeypatch.setattr(ray, "cluster_resources", lambda: cluster)
    return Job(None, Resources(**resources), None, None, None)  # type: ignore[arg-type]


def test_as_many_trainings_as_their_workers_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert job(monkeypatch, {"CPU": 2.0}).trainings_at_once() == 2
    assert job(monkeypatch, {"CPU": 2.0}, workers=2).trainings_at_once() == 1
    assert (
        job(monkeypatch, {"CPU": 64.0, "GPU": 8.0}, workers=4, gpus_per_worker=1.0).trainings_at_once() == 2
    )
    assert job(monkeypatch, {"CPU": 64.0, "GPU": 2.0}, gpus_per_worker=0.5).slots() == 4


def test_a_training_waits_for_the_one_it_starts_from(head: Any, fake: Any) -> None:
    parent, child = head.plan().trainings
    assert generations(head.plan()) == ([parent], [child])
    head.finish_training(parent)
    assert generations(head.plan()) == ([], [child])
    assert [len(units) for units in generations(fake.plan())] == [2, 0]


def test_a_training_that_can_never_start_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="asks for 8 workers but the cluster has room for 2"):
        job(monkeypatch, {"CPU": 2.0}, workers=8).trainings_at_once()


class FakeRay:
    """Two nodes, of which the second may not see the driver's files."""

    def __init__(self, sees: list[bool]) -> None:
        self.sees = iter(sees)

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "NodeID": f"{n:056x}", "NodeManagerHostname": f"node{n}"} for n in (1, 2)]

    def remote(self, **options: Any) -> Any:
        fake = self

        class Probe:
            def options(self, **scheduling: Any) -> "Probe":
                return self

            def remote(self, path: str) -> bool:
                return next(fake.sees)

        return lambda function: Probe()

    def get(self, answers: list[bool], timeout: float) -> list[bool]:
        return answers


def test_storage_that_a_node_cannot_see_is_refused(tmp_path: Any) -> None:
    store = Store.open(tmp_path)
    with pytest.raises(UsageError, match="node2 cannot see it"):
        check_shared_storage(FakeRay([True, False]), store)
    check_shared_storage(FakeRay([True, True]), store)
    assert list(tmp_path.iterdir()) == []
