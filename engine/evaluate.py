"""Pick the snapshot by the locked protocol, then measure a sampler on it."""

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from engine.build import build_denoiser, build_network
from engine.consistency import agreement
from engine.data.datasets import ImageSet, to_unit
from engine.denoiser import Denoiser
from engine.files import Files
from engine.guidance import NULL_LABEL
from engine.metrics.features import FeatureExtractor
from engine.metrics.names import distance_name
from engine.metrics.reference import Reference, distance, measure
from engine.process.analytic import AnalyticVariance, analytic_gammas
from engine.process.schedules import sigma_of
from engine.samplers.chain import ChainSampler
from engine.sampling import draw, panel_png
from engine.spec import Consistency, Experiment
from engine.training.snapshot import load_snapshot
from engine.weights_spec import EmaWeights

SELECTION_SEED = 2**40
"""Snapshots are chosen on latents of their own, so that the choice does not favour the images measured afterwards."""


ANALYTIC_IMAGES = 2_048
"""Images over which Analytic-DPM's variance is measured; the control variate makes so few enough."""


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
    """A snapshot in a training's folder with the experiment's choice of weights, ready to sample."""
    net = build_network(experiment)
    precision = load_snapshot(files, experiment.train, images_shown, net, experiment.weights)
    denoiser = build_denoiser(experiment, net)
    denoiser.precision = precision
    return denoiser.to(device).eval().requires_grad_(False)


def select_snapshot(experiment: Experiment, files: Files, judge: Judge, device: torch.device) -> SnapshotChoice:
    """Score every snapshot with the locked deterministic sampler and latents; lowest distance wins [playbook 5.6].

    Of equal scores the later snapshot wins: a covariance head changes no deterministic sample. The primary average is
    scored, so that cells with other weights share the choice.
    """
    rule, primary = experiment.eval.selection, experiment.model_copy(update={"weights": EmaWeights()})
    metric = distance_name(judge.extractor.name, rule.num_samples)
    scores = []
    for images_shown in experiment.train.snapshot_images:
        denoiser = load_denoiser(primary, files, images_shown, device)
        images = draw(
            denoiser,
            experiment,
            rule.sampler,
            count=rule.num_samples,
            seed=SELECTION_SEED,
            batch_size=experiment.eval.batch_size,
        )
        scores.append((images_shown, distance(judge.extractor, judge.reference, images)))
    ranked = sorted(scores, key=lambda score: (score[1], -score[0]))
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
    rule = experiment.eval.consistency
    if rule is not None and experiment.sample.deterministic:
        metrics["agreement"] = measure_agreement(experiment, denoiser, images, rule)
    return CellMeasurement(metrics, experiment.sample.nfe, panel_png(images, experiment))


def measure_agreement(experiment: Experiment, denoiser: Denoiser, images: Tensor, rule: Consistency) -> float:
    """How far a cell's first images are those of the same sampler at the rule's number of steps [playbook 5.2]."""
    many = experiment.sample.model_copy(update={"num_steps": rule.num_steps})
    batch_size, seed = experiment.eval.batch_size, experiment.eval.sample_seed
    count = min(rule.num_samples, len(images))
    reference = draw(denoiser, experiment, many, count=count, seed=seed, batch_size=batch_size)
    return agreement(images[:count].float(), reference.float())


def measure_analytic_variance(
    experiment: Experiment, denoiser: Denoiser, images: ImageSet, files: Files, images_shown: int
) -> AnalyticVariance:
    """Analytic-DPM's variance of a snapshot at the sampler's noise levels, measured once and kept with the training.

    It uses the training set's first ANALYTIC_IMAGES images [Bao et al. 2022; engine facts B9], with their labels unless
    the sampler hides them.
    """
    assert isinstance(experiment.sample, ChainSampler), "only a sampler of a chain has a covariance"
    sigmas = sorted(sigma_of(alpha_bar) for alpha_bar in experiment.sample.levels[:-1])
    count = min(ANALYTIC_IMAGES, len(images.images))
    hidden = experiment.sample.guidance == 0
    key = json.dumps([images_shown, experiment.weights.model_dump(), sigmas, count, hidden])
    path = f"analytic/{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    kept = files.read(path)
    if kept is None:
        device = next(denoiser.parameters()).device
        labels = torch.full_like(images.labels, NULL_LABEL) if hidden else images.labels
        gammas = analytic_gammas(
            denoiser,
            to_unit(images.images[:count].to(device)),
            sigmas,
            seed=experiment.train.seed,
            batch_size=experiment.eval.batch_size,
            labels=labels[:count].to(device) if experiment.model.class_conditional else None,
        )
        kept = json.dumps({"sigmas": sigmas, "gammas": gammas}).encode()
        files.write(path, kept)
    return AnalyticVariance(**{name: tuple(values) for name, values in json.loads(kept).items()})
