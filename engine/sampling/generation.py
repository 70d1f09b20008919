"""Images of cells: of one alone, or of many in a shared run that does once what they do alike."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.config.experiment import Experiment
from engine.denoiser import Denoiser
from engine.files import Files, pack, unpack
from engine.records import paths
from engine.records.headers import SpooledHeader
from engine.samplers.registry import Sampler
from engine.sampling.generate import generate_images_shared
from engine.sampling.prefix_sharing import shared_evaluations


@dataclass(frozen=True)
class GeneratedImages:
    """Images of a cell, uint8 [N, C, H, W], and what they cost;
    of a shared run, what it added to the cells before."""

    images: Tensor
    seconds: float
    evaluations: int
    """Images times network evaluations, padding included."""


def generate_cell(experiment: Experiment, denoiser: Denoiser) -> GeneratedImages:
    """The cell's images from its sampler alone.
    Raises RuntimeError when its evaluations are not as it declares."""
    protocol = experiment.eval
    parts = list[Tensor]()
    denoiser.nfe = 0
    began = time.perf_counter()
    evaluations = generate_images_shared(
        denoiser,
        experiment,
        [experiment.sample],
        indices=torch.arange(protocol.num_samples),
        seed=protocol.sample_seed,
        batch_size=protocol.batch_size,
        emit=lambda number, chunk, images: parts.append(images),
    )
    seconds = time.perf_counter() - began
    check_evaluations(evaluations, [experiment.sample], protocol.num_samples)
    return GeneratedImages(torch.cat(parts), seconds, denoiser.nfe * protocol.batch_size)


def generate_block(
    experiment: Experiment,
    samplers: Sequence[Sampler],
    indices: Tensor,
    denoiser: Denoiser,
    files: Sequence[Files],
) -> None:
    """Generate a block of images under many samplers in a shared
    run, and keep them batch by batch in each sampler's folder.

    The experiment's own sampler plays no part. Raises RuntimeError when the evaluations are not as declared.
    """
    protocol = experiment.eval
    counted = 0
    denoiser.nfe = 0
    began = time.perf_counter()

    def keep(number: int, chunk: Tensor, images: Tensor) -> None:
        nonlocal began, counted
        cost = SpooledHeader(
            seconds=time.perf_counter() - began,
            evaluations=(denoiser.nfe - counted) * protocol.batch_size,
        )
        files[number].write(paths.spooled_batch(int(chunk[0])), pack({"images": images}, cost.to_json()))
        began = time.perf_counter()
        counted = denoiser.nfe

    settings = {"seed": protocol.sample_seed, "batch_size": protocol.batch_size}
    evaluations = generate_images_shared(
        denoiser, experiment, samplers, indices=indices, emit=keep, **settings
    )
    check_evaluations(evaluations, samplers, len(indices))


def read_generated(experiment: Experiment, files: Files) -> GeneratedImages | None:
    """A cell's images that were generated together with other cells'; None unless all of them are there."""
    parts = []
    seconds = 0.0
    evaluations = 0
    for chunk in torch.arange(experiment.eval.num_samples).split(experiment.eval.batch_size):
        data = files.read(paths.spooled_batch(int(chunk[0])))
        if data is None:
            return None
        tensors, header = unpack(data)
        cost = SpooledHeader.from_json(header)
        parts.append(tensors["images"])
        seconds += cost.seconds
        evaluations += cost.evaluations
    return GeneratedImages(torch.cat(parts), seconds, evaluations)


def check_evaluations(evaluations: int, samplers: Sequence[Sampler], count: int) -> None:
    """RuntimeError when `count` images took other evaluations,
    padding left out, than the samplers declare together."""
    declared = shared_evaluations(samplers)
    if evaluations != count * declared:
        names = ", ".join(sampler.label for sampler in samplers[:3])
        raise RuntimeError(f"{names} declare {declared} evaluations per image but used {evaluations / count}")
