"""Pick the snapshot by the locked protocol, then measure a sampler on it."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import torch

from engine.build import build_denoiser, build_network
from engine.config.experiment import Experiment
from engine.config.network_shape import net_shape
from engine.config.weights import EmaWeights
from engine.data.base import Split
from engine.data.datasets import ImageSet
from engine.denoiser import Denoiser
from engine.evaluation.measured_cell import MeasuredCell, ReferenceContext, ask
from engine.evaluation.snapshot_cache import Snapshot
from engine.files import Files
from engine.metrics.names import distance_name
from engine.metrics.reference import distance
from engine.metrics.registry import METRICS
from engine.records.units import Selection
from engine.sampling.generate import generate_images, panel_png
from engine.sampling.generation import GeneratedImages, generate_cell
from engine.training.snapshot import load_snapshot

SELECTION_SEED = 2**40
"""Snapshots are chosen on latents of their own, so that the
choice does not favour the images measured afterwards."""


@dataclass(frozen=True)
class CellMeasurement:
    """Metrics of one cell, the counted network evaluations per image, and a picture of its first images."""

    metrics: dict[str, float]
    nfe: int
    evaluations: int
    """Images times network evaluations really done, which a shared run does once for many cells."""
    measuring_evaluations: int
    """The same of metrics that evaluate the network: likelihoods, losses, images of many steps."""
    seconds: float
    """Seconds of generating the images."""
    panel: bytes
    jackknife: dict[str, tuple[float, ...]]
    """Distance -> its values with each block of images left out; empty where they are not taken."""
    macs: int | None = None
    """Multiply-accumulates executed in a forward pass of an image, on average;
    None where every pass costs the same."""


def load_denoiser(experiment: Experiment, files: Files, images_shown: int, device: torch.device) -> Denoiser:
    """A snapshot in a training's folder with the experiment's choice of weights, ready to sample."""
    net = build_network(experiment)
    precision = load_snapshot(files, experiment.train, images_shown, net, experiment.weights)
    denoiser = build_denoiser(experiment, net, precision)
    return denoiser.to(device).eval().requires_grad_(False)


def select_snapshot(
    experiment: Experiment, files: Files, context: ReferenceContext, device: torch.device
) -> Selection:
    """Score every snapshot with the locked deterministic sampler and latents;
    lowest distance wins [playbook 5.6].

    Of equal scores the later snapshot wins: a covariance head changes no deterministic sample. The primary
    average is scored, so that cells with other weights share the choice. A snapshot whose images are not
    finite is left out. Raises FloatingPointError when that is every one.
    """
    rule = experiment.eval.selection
    primary = experiment.model_copy(update={"weights": EmaWeights()})
    sampler = experiment.selection_sampler
    metric = distance_name(context.extractor.name, rule.num_samples)
    scores = []
    for images_shown in experiment.train.snapshot_images:
        denoiser = load_denoiser(primary, files, images_shown, device)
        with suppress(FloatingPointError):
            images = generate_images(
                denoiser,
                experiment,
                sampler,
                count=rule.num_samples,
                seed=SELECTION_SEED,
                batch_size=experiment.eval.batch_size,
            )
            scores.append((images_shown, distance(context.extractor, context.reference, images)))
    if not scores:
        raise FloatingPointError(f"{sampler.label} gives images that are not finite from every snapshot")
    ranked = sorted(scores, key=lambda score: (score[1], -score[0]))
    return Selection(
        metric=metric,
        scores=tuple(scores),
        chosen=ranked[0][0],
        runner_up=ranked[1][0] if len(ranked) > 1 else None,
    )


def evaluate_cell(
    snapshot: Snapshot,
    context: ReferenceContext,
    split: Callable[[Split], ImageSet],
    files: Files,
    *,
    generated: GeneratedImages | None = None,
) -> CellMeasurement:
    """Ask every metric that the protocol asks for of a cell's images: those `generated` before, else now.

    `split` gives real images, `files` is the cell's folder. Raises RuntimeError when the counted network
    evaluations differ from what the sampler declares.
    """
    experiment = snapshot.experiment
    generated = generated or generate_cell(experiment, snapshot.denoiser)
    found = ask(METRICS.values(), MeasuredCell(snapshot, split, files, context, generated))
    again = sum(spent for name, spent in found.evaluations.items() if METRICS[name].counts_as_sampling)
    return CellMeasurement(
        metrics=found.metrics,
        nfe=experiment.sample.nfe,
        evaluations=generated.evaluations + again,
        measuring_evaluations=sum(found.evaluations.values()) - again,
        seconds=generated.seconds,
        panel=panel_png(generated.images, experiment),
        jackknife=found.jackknife,
        macs=executed_macs(experiment, found.metrics),
    )


def executed_macs(experiment: Experiment, metrics: Mapping[str, float]) -> int | None:
    """Multiply-accumulates that sampling executed in a forward pass of an image, on average; None where every
    pass costs the same."""
    shares = (metric.executed_share(metrics) for metric in METRICS.values())
    share = next((found for found in shares if found is not None), None)
    if share is None:
        return None
    executed = experiment.model.executed_cost(net_shape(experiment), share)
    return executed.macs if executed else None
