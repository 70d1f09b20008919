"""Where a finished training loses: its loss against the optimum, as a table and as the numbers of a picture."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from rich.table import Table

from engine.evaluate import load_denoiser
from engine.metrics.diagnosis import Diagnosis, log_levels
from engine.objective_spec import Design
from engine.snapshot_facts import Snapshot, diagnosis, loss_gap
from engine.spec import Experiment, LossGap
from engine.weights_spec import EmaWeights
from orchestrator.errors import UsageError
from orchestrator.plan import describe
from orchestrator.process_view import density_of, short
from orchestrator.status_view import planned_sweeps, planned_units
from orchestrator.store import DONE, Folder, Store
from orchestrator.unit import load_data, worker_device
from reports.diagnosis_figure import DiagnosisCurves

DRAWS_OF_DENSITY = 40_000
"""Evenly spread draws that stand for the distribution of noise levels."""


@dataclass(frozen=True)
class Request:
    """What is asked of a training: how many noise levels, how many noisy images at each."""

    num_levels: int
    num_draws: int
    data_root: Path | None


def find_training(store: Store, name: str) -> tuple[Folder, str]:
    """Folder and identity of the one finished training whose identity begins with `name`, or of a sweep's only one.

    Raises UsageError when none or several fit.
    """
    trainings = store.root.subfolder("train")
    found = [identity for identity in trainings.folders() if identity.startswith(name)]
    labels = dict.fromkeys(found, "")
    if not found and name in planned_sweeps(store):
        entries = [unit.entry for unit in planned_units(store, name) if unit.kind == "train"]
        labels = {entry["train_id"]: entry["label"] for entry in entries}
    finished = [identity for identity in labels if trainings.exists(f"{identity}/{DONE}")]
    if len(finished) == 1:
        return store.training(finished[0]), finished[0]
    if not finished:
        raise UsageError(f"no finished training or sweep in {store.shown} is called {name!r}; see orch status SWEEP")
    listed = "".join(f"\n  {identity[:8]}  {labels[identity]}".rstrip() for identity in finished[:20])
    raise UsageError(f"{name!r} has {len(finished)} finished trainings; name one of them:{listed}")


def trained_experiment(folder: Folder) -> Experiment:
    """The experiment of a training as its worker wrote it, measured with its own average of the weights.

    Raises UsageError when an earlier version of orch wrote it, whose fields were others.
    """
    try:
        experiment = Experiment.model_validate(folder.read_json("spec.json"))
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors()[:3])
        raise UsageError(f"{folder.path} was trained by another version of orch: {fields} is not known here") from None
    return experiment.model_copy(update={"weights": EmaWeights()})


def images_shown_at(experiment: Experiment, kimg: float | None) -> int:
    """Images shown at the snapshot asked for, the last one by default. Raises UsageError when there is none."""
    kept = experiment.train.snapshot_images
    if kimg is None:
        return kept[-1]
    if round(kimg * 1000) not in kept:
        known = ", ".join(f"{images / 1000:g}" for images in kept)
        raise UsageError(f"--snapshot {kimg:g}: this training has snapshots at {known} kimg")
    return round(kimg * 1000)


def measured(
    experiment: Experiment, folder: Folder, images_shown: int, request: Request
) -> tuple[Diagnosis, Diagnosis]:
    """The snapshot's losses at noise levels even in log sigma, and at levels as training shows them."""
    rule = LossGap(num_draws=request.num_draws)
    asking = experiment.model_copy(update={"eval": experiment.eval.model_copy(update={"loss_gap": rule})})
    denoiser = load_denoiser(experiment, folder, images_shown, worker_device())
    snapshot = Snapshot(asking, denoiser, folder, images_shown)
    images = load_data(experiment.data.name, str(request.data_root) if request.data_root else None)
    levels = log_levels(experiment.base_objective.design, request.num_levels)
    return diagnosis(snapshot, images, levels, request.num_draws), loss_gap(snapshot, images)


def curves(found: Diagnosis, overall: Diagnosis, experiment: Experiment, title: str, kimg: float) -> DiagnosisCurves:
    """The numbers of the picture."""
    density = level_density(experiment.base_objective.design)(np.log(found.sigmas))
    images = f"{found.num_draws} noisy images of {experiment.data.name} at each of {len(found.sigmas)} noise levels"
    words = f"{kimg:g} kimg  ·  training loss {excess_words(overall)}  ·  {images}"
    return DiagnosisCurves(
        title=title,
        words=words,
        sigma=list(found.sigmas),
        model_loss=list(found.model_loss),
        optimal_loss=list(found.optimal_loss),
        gap=list(found.gap),
        gap_stderr=list(found.gap_stderr),
        weight=[float(part) * weight for part, weight in zip(density, found.weight, strict=True)],
    )


def level_density(design: Design) -> Callable[[np.ndarray], np.ndarray]:
    """Density over ln sigma of the noise levels that training shows."""
    uniform = (torch.arange(DRAWS_OF_DENSITY, dtype=torch.float64) + 0.5) / DRAWS_OF_DENSITY
    drawn = np.sort(np.log(design.noise_levels.sigma(uniform, design.process).numpy()))
    return lambda ln_sigma: density_of(drawn, ln_sigma)


def excess_words(overall: Diagnosis) -> str:
    """The weighted training loss per dimension, its optimum and the gap between them."""
    optimum, gap = overall.mean_optimal_loss, overall.excess
    return f"{optimum + gap:.4g} = optimum {optimum:.4g} + {gap:.3g} ± {overall.excess_stderr:.1g}"


def levels_table(curves: DiagnosisCurves) -> Table:
    """Loss, optimum and gap at every noise level, and the share of all that is lost there."""
    table = Table(box=None, header_style="bold", padding=(0, 0, 0, 2))
    for heading in ("σ", "loss", "optimum", "gap", "±", "loss / optimum", "lost here\n% of all"):
        table.add_column(heading, justify="right", no_wrap=True)
    lost = np.multiply(curves.weight, curves.gap)
    shares = 100 * lost / lost.sum() if lost.sum() > 0 else np.zeros_like(lost)
    columns = (curves.sigma, curves.model_loss, curves.optimal_loss, curves.gap, curves.gap_stderr, shares)
    for sigma, loss, optimum, gap, error, share in zip(*columns, strict=True):
        ratio = short(loss / optimum) if optimum > 1e-3 * loss else "over 1,000"
        table.add_row(short(sigma), short(loss), short(optimum), short(gap), short(error), ratio, f"{share:.1f}")
    return table


def title_of(folder: Folder, identity: str, store: Store) -> str:
    """How the sweeps call a training, with its identity."""
    for sweep in planned_sweeps(store):
        for unit in planned_units(store, sweep):
            if unit.kind == "train" and unit.entry["train_id"] == identity:
                return f"{sweep}: {describe(unit.entry['axes']) or unit.entry['label']} ({identity[:8]})"
    return identity[:8]
