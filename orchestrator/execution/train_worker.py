"""A training unit: Ray Train runs the loop on its workers, then the first one chooses the snapshot."""

import uuid
from collections.abc import Callable

from engine.records import paths
from engine.records.units import TrainingDone
from orchestrator.execution.ray_values import RayValues
from orchestrator.execution.warm_process import load_data, load_reference_context, prepare_worker
from orchestrator.planning.identity import training_versions
from orchestrator.planning.unit import Unit
from orchestrator.storage.curves import curve_table, parquet_bytes
from orchestrator.storage.provenance import worker_environment
from orchestrator.storage.store import Store, mark_done, mark_failed


def train_trial(config: RayValues) -> None:
    """Body of the Tune trial: start Ray Train's workers for one unit and wait for them.

    `config` has the unit's text, resources (workers, cpus_per_worker, gpus_per_worker) and a scratch folder.

    The trial itself asks for no CPU: a trial that held one while its workers wait for theirs would deadlock.
    """
    import ray.train
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    resources = config["resources"]
    unit = Unit.from_json(config["unit"])
    per_worker = {"CPU": resources["cpus_per_worker"], "GPU": resources["gpus_per_worker"]}
    TorchTrainer(
        train_loop,
        train_loop_config={"unit": config["unit"]},
        scaling_config=ray.train.ScalingConfig(
            num_workers=resources["workers"],
            use_gpu=resources["gpus_per_worker"] > 0,
            resources_per_worker={name: amount for name, amount in per_worker.items() if amount > 0},
        ),
        run_config=ray.train.RunConfig(
            # A name of its own: under a known one Ray Train
            # would restore what it remembers of an earlier run.
            name=f"{unit.unit_id}-{uuid.uuid4().hex[:8]}",
            storage_path=config["scratch"],
            callbacks=[TuneReportCallback()],
            failure_config=ray.train.FailureConfig(max_failures=2),
        ),
    ).fit()


def train_loop(config: RayValues) -> None:
    """Body of each Ray Train worker.

    State lives in the store, not in Ray: a worker that dies is started again
    and resumes from the store's checkpoint. An exception of ours would only
    repeat, so it is recorded as the unit's failure instead of being retried.
    """
    import ray.train

    unit = Unit.from_json(config["unit"])
    folder = Store.open(unit.storage).training(unit.train_id)
    try:
        run_training(unit, ray.train.get_context().get_world_rank(), ray.train.report)
    except Exception as error:
        mark_failed(folder, f"{type(error).__name__}: {error}")
        ray.train.report({"state": "failed", "message": str(error)})


def run_training(unit: Unit, rank: int, report: Callable[[RayValues], None]) -> None:
    """Train what is missing, then choose the snapshot under the sweep's protocol."""
    from engine.evaluation.evaluate import select_snapshot
    from engine.training.loop import Tick, train

    device = prepare_worker(unit)
    experiment = unit.spec
    folder = Store.open(unit.storage).training(unit.train_id)
    images = load_data(experiment.data.name, unit.data_root)

    def on_tick(tick: Tick) -> None:
        if rank == 0:
            folder.write(paths.CURVES, parquet_bytes(curve_table(unit.train_id, tick.curves)))
        kimg = tick.images_shown / 1000
        report(
            {"state": "train", "kimg": kimg, "loss": tick.loss, "images_per_second": tick.images_per_second}
        )

    # Every rank trains and reports, as Ray Train waits for all of them; one alone writes.
    if rank == 0:
        folder.write_json(paths.SPEC, {**unit.experiment, "versions": training_versions(experiment)})
    if not folder.exists(paths.DONE):
        parent = Store.open(unit.storage).training(unit.parent_id) if unit.parent_id else None
        seconds = train(experiment, images, folder, on_tick, device, parent)
        if rank == 0:
            environment = worker_environment(str(device))
            # Before the choice of the snapshot: should that fail, or another protocol
            # ask for its own, the weights are there and need no training again.
            mark_done(folder, TrainingDone(train_id=unit.train_id, seconds=seconds, environment=environment))
    if rank == 0:
        judge = load_reference_context(
            unit.storage, experiment.data.name, experiment.eval.extractor, unit.data_root
        )
        choice = select_snapshot(experiment, folder, judge, device)
        folder.write_record(paths.selection(unit.selection_id), choice)
        folder.delete(paths.FAILED)
    report({"state": "done"})
