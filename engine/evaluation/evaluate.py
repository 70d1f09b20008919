"""Pick the snapshot by the locked protocol, then measure a sampler on it."""

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from engine.build import build_denoiser, build_network
from engine.config.experiment import Experiment
from engine.config.network_shape import net_shape
from engine.config.weights import EmaWeights
from engine.denoiser import Denoiser
from engine.evaluation.consistency import agreement
from engine.files import Files
from engine.metrics.features import FeatureExtractor
from engine.metrics.names import distance_name
from engine.metrics.reference import Reference, distance, measure
from engine.sampling.generate import draw, panel_png
from engine.sampling.generation import GeneratedImages, generate_cell
from engine.training.snapshot import load_snapshot

SELECTION_SEED = 2**40
"""Snapshots are chosen on latents of their own, so that the choice does not favour the images measured
afterwards."""


@dataclass(frozen=True)
class ReferenceContext:
    """What images are compared with: a feature extractor and the training set's statistics under it."""

    extractor: FeatureExtractor
    reference: Reference


@dataclass(frozen=True)
class SnapshotChoice:
    """The outcome of snapshot selection: every snapshot's score, the best and the second best (images
    shown)."""

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
    evaluations: int
    """Images times network evaluations really done, which a shared pass does once for many cells."""
    seconds: float
    """Seconds of drawing the images."""
    panel: bytes
    jackknife: dict[str, tuple[float, ...]]
    """Distance -> its values with each block of images left out; empty where they are not taken."""
    macs: int | None = None
    """Multiply-accumulates executed in a forward pass of an image, on average; None where every pass costs
    the same."""


def load_denoiser(experiment: Experiment, files: Files, images_shown: int, device: torch.device) -> Denoiser:
    """A snapshot in a training's folder with the experiment's choice of weights, ready to sample."""
    net = build_network(experiment)
    precision = load_snapshot(files, experiment.train, images_shown, net, experiment.weights)
    denoiser = build_denoiser(experiment, net, precision)
    return denoiser.to(device).eval().requires_grad_(False)


def select_snapshot(
    experiment: Experiment, files: Files, judge: ReferenceContext, device: torch.device
) -> SnapshotChoice:
    """Score every snapshot with the locked deterministic sampler and latents; lowest distance wins [playbook
    5.6].

    Of equal scores the later snapshot wins: a covariance head changes no deterministic sample. The primary
    average is scored, so that cells with other weights share the choice. A snapshot whose images are not
    finite is left out. Raises FloatingPointError when that is every one.
    """
    rule, primary = experiment.eval.selection, experiment.model_copy(update={"weights": EmaWeights()})
    metric = distance_name(judge.extractor.name, rule.num_samples)
    scores = []
    for images_shown in experiment.train.snapshot_images:
        denoiser = load_denoiser(primary, files, images_shown, device)
        with suppress(FloatingPointError):
            images = draw(
                denoiser,
                experiment,
                rule.sampler,
                count=rule.num_samples,
                seed=SELECTION_SEED,
                batch_size=experiment.eval.batch_size,
            )
            scores.append((images_shown, distance(judge.extractor, judge.reference, images)))
    if not scores:
        raise FloatingPointError(f"{rule.sampler.label} gives images that are not finite from every snapshot")
    ranked = sorted(scores, key=lambda score: (score[1], -score[0]))
    return SnapshotChoice(metric, tuple(scores), ranked[0][0], ranked[1][0] if len(ranked) > 1 else None)


def evaluate_cell(
    experiment: Experiment,
    denoiser: Denoiser,
    judge: ReferenceContext,
    *,
    drawn: GeneratedImages | None = None,
    reference: Tensor | None = None,
) -> CellMeasurement:
    """Measure the images of the experiment's sampler: those `drawn` before, else those drawn now.

    With `reference`, images of the same latents, also how far the first images agree with them. Of a DyDiT
    also the share of attention's and the MLPs' FLOPs that sampling executes.

    Raises RuntimeError when the counted network evaluations differ from what the sampler declares.
    """
    drawn = drawn or generate_cell(experiment, denoiser)
    measured = measure(judge.extractor, judge.reference, drawn.images, experiment.eval.nearest_k)
    metrics = {**measured.metrics, "seconds_per_image": drawn.seconds / len(drawn.images)}
    if reference is not None:
        metrics["agreement"] = agreement(drawn.images[: len(reference)].float(), reference.float())
    panel, evaluations, macs = panel_png(drawn.images, experiment), drawn.evaluations, None
    if experiment.model.executes_part:
        metrics["flops_ratio"], watched = sampled_ratio(experiment, denoiser)
        evaluations += watched
        executed = experiment.model.executed_cost(net_shape(experiment), metrics["flops_ratio"])
        macs = executed.macs if executed else None
    nfe, jackknife = experiment.sample.nfe, measured.jackknife
    return CellMeasurement(metrics, nfe, evaluations, drawn.seconds, panel, jackknife, macs)


def sampled_ratio(experiment: Experiment, denoiser: Denoiser) -> tuple[float, int]:
    """Share of attention's and the MLPs' FLOPs that a DyDiT executes, over the passes of the first batch of a
    cell.

    That batch is drawn once more; the second number says what it took, images times evaluations. Padding does
    not count in the mean. The denoiser's own count stays as it was.
    """
    protocol, before = experiment.eval, denoiser.nfe
    count = min(protocol.num_samples, protocol.batch_size)
    settings = {"count": count, "seed": protocol.sample_seed, "batch_size": protocol.batch_size}
    with experiment.model.watch_executed(denoiser.net) as ratios:
        draw(denoiser, experiment, experiment.sample, **settings)
    evaluations = (denoiser.nfe - before) * protocol.batch_size
    denoiser.nfe = before
    return float(torch.stack([ratio[:count] for ratio in ratios]).mean()), evaluations
