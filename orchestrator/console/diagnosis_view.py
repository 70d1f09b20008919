"""Where a finished training loses: its loss against the optimum, as a table and as a picture's numbers."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from engine.config.experiment import Experiment, LossGap
from engine.config.weights import EmaWeights
from engine.data.datasets import ImageSet, load_images
from engine.device import worker_device
from engine.evaluation.evaluate import load_denoiser
from engine.evaluation.snapshot_cache import Snapshot, diagnosis, loss_gap
from engine.metrics.diagnosis import Diagnosis, log_levels
from engine.objectives.design import Design
from engine.records import paths
from engine.records.curves import DiagnosisCurves
from orchestrator.console.process_view import density_of, drawn_levels, short
from orchestrator.console.status_view import planned_sweeps, planned_units
from orchestrator.errors import UsageError
from orchestrator.storage.store import DONE, Folder, Store

NUM_LEVELS = 24
"""Noise levels of the table and the picture, even in log sigma."""


@dataclass(frozen=True)
class Asked:
    """A finished training and how closely to look at it."""

    identity: str
    label: str
    experiment: Experiment
    folder: Folder
    data_root: Path | None

    @cached_property
    def images(self) -> ImageSet:
        """The images it was trained on."""
        return load_images(self.experiment.data.name, self.data_root, "train")

    def snapshot_at(self, kimg: float | None) -> Snapshot:
        """The snapshot asked for, the last one by default. Raises UsageError when there is none."""
        kept = self.experiment.train.snapshot_images
        images_shown = kept[-1] if kimg is None else round(kimg * 1000)
        if images_shown not in kept:
            known = ", ".join(f"{images / 1000:g}" for images in kept)
            raise UsageError(f"--snapshot {kimg:g}: this training has snapshots at {known} kimg")
        denoiser = load_denoiser(self.experiment, self.folder, images_shown, worker_device())
        return Snapshot(self.experiment, denoiser, self.folder, images_shown)


def find_training(store: Store, name: str, draws: int, data_root: Path | None) -> Asked:
    """The one finished training whose identity begins with `name`, or that of a sweep that has only one.

    It is looked at with its own average of the weights. Raises UsageError when none or several fit.
    """
    labels: dict[str, str] = {}
    of_named_sweep: dict[str, str] = {}
    for sweep in planned_sweeps(store):
        for unit in planned_units(store, sweep):
            if unit.kind == "train":
                labels[unit.entry.train_id] = f"{sweep}: {unit.entry.label}"
                if sweep == name:
                    of_named_sweep[unit.entry.train_id] = labels[unit.entry.train_id]
    # Sweeps share trainings: one is called as in the sweep that was named, else as in the last that has it.
    labels |= of_named_sweep
    trainings = store.root.subfolder(paths.TRAININGS)
    asked = [one for one in trainings.folders() if one.startswith(name) or one in of_named_sweep]
    found = [identity for identity in asked if trainings.exists(f"{identity}/{DONE}")]
    labels = {identity: labels.get(identity, "a training") for identity in found}
    if not found:
        raise UsageError(
            f"no finished training or sweep in {store.shown} is called {name!r}; see orch status SWEEP"
        )
    if len(found) > 1:
        listed = "".join(f"\n  {identity[:8]}  {labels[identity]}" for identity in found[:20])
        raise UsageError(f"{name!r} has {len(found)} finished trainings; name one of them:{listed}")
    [identity] = found
    folder = store.training(identity)
    experiment = trained_experiment(folder, draws)
    return Asked(identity, labels[identity], experiment, folder, data_root)


def trained_experiment(folder: Folder, draws: int) -> Experiment:
    """The experiment of a training as its worker wrote it, with a protocol that asks for the gap.

    Raises UsageError when another version of orch wrote it, whose fields were others.
    """
    try:
        experiment = Experiment.model_validate(folder.read_json(paths.SPEC))
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors()[:3])
        raise UsageError(
            f"another version of orch trained {folder.path}: {fields} is not known here"
        ) from None
    protocol = experiment.eval.model_copy(update={"loss_gap": LossGap(num_draws=draws)})
    return experiment.model_copy(update={"weights": EmaWeights(), "eval": protocol})


def diagnosis_curves(asked: Asked, snapshot: Snapshot) -> DiagnosisCurves:
    """The snapshot's losses at noise levels even in log sigma."""
    rule = asked.experiment.eval.loss_gap
    design = asked.experiment.base_objective.design
    assert rule is not None
    images = asked.images
    found = diagnosis(snapshot, images, log_levels(design, NUM_LEVELS), rule.num_draws)
    density = density_of(drawn_levels(design), np.log(found.sigmas))
    shown = (
        f"{found.num_draws:,} noisy images of {asked.experiment.data.name} "
        f"at each of {NUM_LEVELS} noise levels"
    )
    loss = f"{loss_name(design)} {excess_words(asked, snapshot)}"
    return DiagnosisCurves(
        title=f"{asked.label} ({asked.identity[:8]})",
        words=f"{snapshot.images_shown / 1000:g} kimg  ·  {loss}  ·  {shown}",
        sigma=list(found.sigmas),
        model_loss=list(found.model_loss),
        optimal_loss=list(found.optimal_loss),
        gap=list(found.gap),
        gap_stderr=list(found.gap_stderr),
        weight=[float(share) * weight for share, weight in zip(density, found.weight, strict=True)],
    )


def loss_name(design: Design) -> str:
    """What is measured: the training loss, or the part of it that is no bound."""
    return "L_simple" if design.learned_variance else "training loss"


def excess_words(asked: Asked, snapshot: Snapshot) -> str:
    """The weighted loss per dimension, its optimum and the gap between them."""
    overall: Diagnosis = loss_gap(snapshot, asked.images)
    gap = f"{overall.excess:.3g} ± {overall.excess_stderr:.1g}"
    return f"{overall.mean_model_loss:.4g} = optimum {overall.mean_optimal_loss:.4g} + gap {gap}"


def show(curves: DiagnosisCurves, asked: Asked, every: bool, console: Console) -> None:
    """Print the table and, when `every`, the gap of each snapshot of the training."""
    console.print(f"[bold]{curves.title}[/bold]: {curves.words}", highlight=False)
    console.print(levels_table(curves))
    for images_shown in asked.experiment.train.snapshot_images if every else ():
        words = excess_words(asked, asked.snapshot_at(images_shown / 1000))
        console.print(f"{images_shown / 1000:8g} kimg: {words}", highlight=False)


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
        table.add_row(
            short(sigma), short(loss), short(optimum), short(gap), short(error), ratio, f"{share:.1f}"
        )
    return table
