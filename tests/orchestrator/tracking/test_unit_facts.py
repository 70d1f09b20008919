"""What MLflow is told of a training that starts from another and of the weights that are sampled;
MLflow stands in."""

from typing import Any
from unittest.mock import MagicMock

from orchestrator.tracking.mirror import Mirror
from orchestrator.tracking.runs import SweepRuns


def mirrored(fake: Any) -> tuple[Mirror, MagicMock]:
    """A mirror of the sweep as it is now, and the client that it spoke to."""
    client = MagicMock()
    client.create_run.side_effect = lambda *_, run_name, **__: MagicMock(
        info=MagicMock(run_id=run_name, start_time=0)
    )
    made = Mirror(fake.plan(), fake.store)
    made.runs = SweepRuns(client, "1", {"sweep": "parent"})
    made.update()
    return made, client


def params(client: MagicMock) -> dict[str, dict[str, str]]:
    """Run -> its params."""
    return {
        call.args[0]: {param.key: param.value for param in call.kwargs["params"]}
        for call in client.log_batch.call_args_list
        if call.kwargs.get("params")
    }


def test_only_a_heads_params_name_the_training_it_starts_from(head: Any) -> None:
    head.finish_everything()
    _, client = mirrored(head)
    told = params(client)
    child, parent = told["train the recipe"], told["train start training"]
    assert (child["objective.kind"], child["start.objective.kind"]) == ("ocm", "simple")
    assert (child["start.train.total_kimg"], child["train.total_kimg"]) == ("4.0", "4.0")
    assert (parent["objective.kind"], parent["start"]) == ("simple", "None")


def test_params_of_a_cell_name_its_weights_also_when_they_do_not_vary(finished: Any) -> None:
    raw = finished.changed("panel:", "set: {train.keep_raw: true, weights.kind: raw}\npanel:")
    raw.finish_everything()
    for fake, kind in ((finished, "ema"), (raw, "raw")):
        told = params(mirrored(fake)[1])
        cells = [found for found in told.values() if "sample.kind" in found]
        assert {found["weights.kind"] for found in cells} == {kind}


def test_a_row_added_at_a_mirrored_checkpoint_is_sent(fake: Any) -> None:
    """A fall back to fp32 writes its row at the last checkpoint.
    MLflow drops rows that it has, so all are sent."""
    unit = fake.plan().trainings[0]
    fake.begin(unit, (1.0, 2.0))
    made, client = mirrored(fake)
    fake.begin(unit, (1.0, 2.0, 3.0))
    made.update()
    steps = [{metric.step for metric in call.kwargs["metrics"]} for call in client.log_batch.call_args_list]
    assert steps == [{1, 2}, {2, 3}]
