"""Pick the snapshot by the locked protocol, then measure a sampler on it."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from engine.build import build_denoiser, build_network
from engine.denoiser import Denoiser
from engine.files import Files
from engine.metrics.features import FeatureExtractor
from engine.metrics.names import distance_name
from engine.metrics.reference import Reference, distance, measure
from engine.sampling import draw, panel_png
from engine.spec import Experiment
from engine.training.snapshot import load_snapshot

SELECTION_SEED = 2**40
"""Snapshots are chosen on latents of their own, so that the choice does not favour the images measured afterwards."""


@dataclass(frozen=True)
class Judge:
    """What images are compared with: a feature extractor and the training set's statistics under it."""

    extractor: FeatureExtractor
    reference: Reference


@dataclass(frozen=True)
class SnapshotChoice:
    """The outcome of snapshot selection: every snapshot's score, the best and the second best (images shown)."""

    metric: str
    scores: tuple[tuple[int, float], ...]
    chosen: int
    runner_up: int | None

    def to_json(self) -> dict[str, Any]:
        """A plain dict."""
        return asdict(self)


@dataclass(frozen=True)
class CellMeasurement:
    """Metrics of one cell, the counted network evaluations per image, and a picture of its first images."""

    metrics: dict[str, float]
    nfe: int
    panel: bytes


def load_denoiser(experiment: Experiment, files: Files, images_shown: int, device: torch.device) -> Denoiser:
    """The averaged weights of a snapshot in a training's folder, ready to sample."""
    net = build_network(experiment)
    load_snapshot(files, images_shown, net)
    return build_denoiser(experiment, net).to(device).eval().requires_grad_(False)


def select_snapshot(experiment: Experiment, files: Files, judge: Judge, device: torch.device) -> SnapshotChoice:
    """Score every snapshot with the locked deterministic sampler and latents; lowest distance wins [playbook 5.6]."""
    rule = experiment.eval.selection
    metric = distance_name(judge.extractor.name, rule.num_samples)
    scores = []
    for images_shown in experiment.train.snapshot_images:
        denoiser = load_denoiser(experiment, files, images_shown, device)
        images = draw(
            denoiser,
            experiment,
            rule.sampler,
            count=rule.num_samples,
            seed=SELECTION_SEED,
            batch_size=experiment.eval.batch_size,
        )
        scores.append((images_shown, distance(judge.extractor, judge.reference, images)))
    ranked = sorted(scores, key=lambda score: score[1])
    return SnapshotChoice(metric, tuple(scores), ranked[0][0], ranked[1][0] if len(ranked) > 1 else None)


def evaluate_cell(experiment: Experiment, denoiser: Denoiser, judge: Judge) -> CellMeasurement:
    """Sample with the experiment's sampler and measure the images.

    Raises RuntimeError when the counted network evaluations differ from what the sampler declares.
    """
    num_samples, batch_size, seed = experiment.eval.num_samples, experiment.eval.batch_size, experiment.eval.sample_seed
    denoiser.nfe = 0
    started = time.perf_counter()
    images = draw(denoiser, experiment, experiment.sample, count=num_samples, seed=seed, batch_size=batch_size)
    seconds = time.perf_counter() - started
    batches = -(-num_samples // batch_size)
    if denoiser.nfe != batches * experiment.sample.nfe:
        raise RuntimeError(
            f"{experiment.sample.label} declares NFE {experiment.sample.nfe} but used {denoiser.nfe / batches}"
        )
    metrics = measure(judge.extractor, judge.reference, images, experiment.eval.nearest_k)
    metrics["seconds_per_image"] = seconds / num_samples
    return CellMeasurement(metrics, experiment.sample.nfe, panel_png(images, experiment))
