"""A sampling unit: a Tune trial whose actor is reused, so the model and the reference stay loaded."""

import time
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from ray import tune

from engine.records import paths
from engine.records.units import CellDone, CellRecord, Selection
from engine.samplers.registry import Sampler
from orchestrator.execution.ray_values import RayValues
from orchestrator.execution.spooled import missing_batches
from orchestrator.execution.warm_process import load_data, load_reference_context, prepare_worker
from orchestrator.planning.identity import cell_versions
from orchestrator.planning.unit import SHARED_RUN, Unit
from orchestrator.storage.provenance import worker_environment
from orchestrator.storage.store import Store, mark_done, mark_failed

if TYPE_CHECKING:
    import torch

    from engine.denoiser import Denoiser
    from engine.evaluation.evaluate import CellMeasurement
    from engine.evaluation.measured_cell import ReferenceContext
    from engine.evaluation.snapshot_cache import Snapshot


class SampleTrial(tune.Trainable):
    """One cell a trial; `reset_config` hands the same process the next cell."""

    def setup(self, config: RayValues) -> None:
        """Take the first unit."""
        self.unit = Unit.from_json(config["unit"])

    def reset_config(self, new_config: RayValues) -> bool:
        """Take the next unit."""
        self.unit = Unit.from_json(new_config["unit"])
        return True

    def step(self) -> RayValues:
        """Do the whole unit. An exception of ours would only repeat, so it is recorded, not retried."""
        if self.unit.kind == SHARED_RUN:
            return {**sample_shared_run(self.unit), tune.result.DONE: True}
        folder = Store.open(self.unit.storage).cell(self.unit.unit_id)
        try:
            metrics = measure_cell(self.unit)
        except Exception as error:
            folder.delete_folder(paths.SPOOL)  # the next spool batch's images take their place on the disk
            mark_failed(folder, f"{type(error).__name__}: {error}")
            return {"state": "failed", "message": str(error), tune.result.DONE: True}
        return {"state": "done", **metrics, tune.result.DONE: True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to keep: results are in the store."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing to load."""


def sample_shared_run(unit: Unit) -> dict[str, str]:
    """Sample the images of a shared run that are missing; where it fails, each cell samples its own."""
    import torch

    from engine.sampling.generation import generate_block

    store = Store.open(unit.storage)
    experiment = unit.spec
    device = prepare_worker(unit)
    batch_size = experiment.eval.batch_size
    num_samples = experiment.eval.num_samples
    try:
        denoiser = warm_denoiser(unit, chosen_snapshot(unit, store), device)
        batches = torch.arange(num_samples).split(batch_size)
        samplers = [TypeAdapter(Sampler).validate_python(sampler) for _, sampler in unit.samplers]
        folders = [store.cell(cell_id) for cell_id, _ in unit.samplers]
        for cells, numbers in missing_batches(unit, folders).items():
            indices = torch.cat([batches[number] for number in numbers])
            into = [folders[cell] for cell in cells]
            generate_block(experiment, [samplers[cell] for cell in cells], indices, denoiser, into)
    except Exception as error:
        return {"state": "failed", "message": f"{type(error).__name__}: {error}"}
    return {"state": "done"}


def chosen_snapshot(unit: Unit, store: Store) -> int:
    """Images shown at the snapshot that was chosen; RuntimeError when none was."""
    choice = store.training(unit.train_id).read_record(paths.selection(unit.selection_id), Selection)
    if choice is None:
        raise RuntimeError(f"training {unit.train_id} has no chosen snapshot")
    return choice.chosen


def measure_cell(unit: Unit) -> dict[str, float]:
    """Measure one cell, write its folder and return its metrics; a finished cell is only read."""
    from engine.evaluation.evaluate import evaluate_cell
    from engine.evaluation.snapshot_cache import Snapshot, analytic_variance
    from engine.sampling.generation import read_generated

    store = Store.open(unit.storage)
    folder = store.cell(unit.unit_id)
    earlier = folder.read_record(paths.CELL, CellRecord) if folder.exists(paths.DONE) else None
    if earlier is not None:
        return earlier.metrics
    device = prepare_worker(unit)
    experiment = unit.spec
    judge = load_reference_context(
        unit.storage, experiment.data.name, experiment.eval.extractor, unit.data_root
    )
    chosen = chosen_snapshot(unit, store)
    started = time.perf_counter()
    drawn = read_generated(experiment, folder)
    denoiser = warm_denoiser(unit, chosen, device)
    snapshot = Snapshot(experiment, denoiser, store.training(unit.train_id), chosen)
    if experiment.sample.measures_own_variance:
        denoiser.variance_model = analytic_variance(snapshot, load_data(experiment.data.name, unit.data_root))
    measured = evaluate_cell(
        snapshot,
        judge,
        lambda split: load_data(experiment.data.name, unit.data_root, split),
        folder,
        generated=drawn,
    )
    # DONE.json comes last: whatever kills the worker before it leaves a cell that counts as
    # missing. Only then may the images go, which would otherwise have to be sampled again.
    folder.write(paths.CELL_PANEL, measured.panel)
    folder.write_record(paths.CELL, cell_record(unit, snapshot, measured, judge))
    seconds = time.perf_counter() - started + (measured.seconds if drawn else 0.0)
    done = CellDone(
        cell_id=unit.unit_id,
        seconds=seconds,
        evaluations=measured.evaluations + measured.measuring_evaluations,
        environment=worker_environment(str(device)),
    )
    mark_done(folder, done)
    folder.delete_folder(paths.SPOOL)
    return measured.metrics


def cell_record(
    unit: Unit, snapshot: "Snapshot", measured: "CellMeasurement", judge: "ReferenceContext"
) -> CellRecord:
    """All that is kept of a measured cell."""
    return CellRecord(
        cell_id=unit.unit_id,
        train_id=unit.train_id,
        experiment=unit.experiment,
        sampler=snapshot.experiment.sample.canonical().form,
        snapshot_kimg=snapshot.images_shown / 1000,
        metrics=measured.metrics,
        jackknife=measured.jackknife,
        nfe=measured.nfe,
        evaluations=measured.evaluations,
        macs=measured.macs,
        num_params=sum(parameter.numel() for parameter in snapshot.denoiser.parameters()),
        extractor_sha256=judge.extractor.sha256,
        reference_id=judge.reference.id,
        versions=cell_versions(snapshot.experiment),
    )


_LOADED: dict[tuple[str, ...], "Denoiser"] = {}
"""The one network this process keeps loaded."""


def warm_denoiser(unit: Unit, images_shown: int, device: "torch.device") -> "Denoiser":
    """The chosen snapshot's denoiser, read from the store unless the previous unit used it too."""
    from engine.evaluation.evaluate import load_denoiser

    experiment = unit.spec
    key = (unit.storage, unit.train_id, str(images_shown), experiment.weights.model_dump_json())
    if key not in _LOADED:
        _LOADED.clear()
        folder = Store.open(unit.storage).training(unit.train_id)
        _LOADED[key] = load_denoiser(experiment, folder, images_shown, device)
    _LOADED[key].variance_model = experiment.objective.variance_model()
    return _LOADED[key]
