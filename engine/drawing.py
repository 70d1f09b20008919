"""Images of cells: of one alone, or of many in one pass that does once what they do alike."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.denoiser import Denoiser
from engine.files import Files, pack, unpack
from engine.samplers import Sampler
from engine.samplers.shared import shared_evaluations
from engine.sampling import draw, draw_shared
from engine.spec import Experiment

DRAWN_FOLDER = "drawn"
"""Where a cell's images wait that were drawn together with other cells'."""


@dataclass(frozen=True)
class Drawn:
    """Images of a cell, uint8 [N, C, H, W], and what they cost; of a shared pass, what it added to the cells before."""

    images: Tensor
    seconds: float
    evaluations: int
    """Images times network evaluations, padding included."""


def draw_cell(experiment: Experiment, denoiser: Denoiser) -> Drawn:
    """The cell's images from its sampler alone. Raises RuntimeError when its evaluations are not as it declares."""
    num_samples, batch_size, seed = experiment.eval.num_samples, experiment.eval.batch_size, experiment.eval.sample_seed
    denoiser.nfe = 0
    started = time.perf_counter()
    images = draw(denoiser, experiment, experiment.sample, count=num_samples, seed=seed, batch_size=batch_size)
    seconds = time.perf_counter() - started
    check_evaluations(denoiser, [experiment.sample], num_samples, batch_size)
    return Drawn(images, seconds, denoiser.nfe * batch_size)


def draw_block(
    experiment: Experiment, samplers: Sequence[Sampler], indices: Tensor, denoiser: Denoiser, files: Sequence[Files]
) -> None:
    """Draw a block of images under many samplers in one pass, and keep them batch by batch in each sampler's folder.

    The experiment's own sampler plays no part. Raises RuntimeError when the evaluations are not as declared.
    """
    protocol, counted = experiment.eval, 0
    denoiser.nfe, began = 0, time.perf_counter()

    def keep(number: int, chunk: Tensor, images: Tensor) -> None:
        nonlocal began, counted
        cost = {"seconds": time.perf_counter() - began, "evaluations": (denoiser.nfe - counted) * protocol.batch_size}
        files[number].write(block_path(int(chunk[0])), pack({"images": images}, cost))
        began, counted = time.perf_counter(), denoiser.nfe

    settings = {"seed": protocol.sample_seed, "batch_size": protocol.batch_size}
    draw_shared(denoiser, experiment, samplers, indices=indices, emit=keep, **settings)
    check_evaluations(denoiser, samplers, len(indices), protocol.batch_size)


def read_drawn(experiment: Experiment, files: Files) -> Drawn | None:
    """A cell's images that were drawn together with other cells'; None unless all of them are there."""
    parts, seconds, evaluations = [], 0.0, 0
    for chunk in torch.arange(experiment.eval.num_samples).split(experiment.eval.batch_size):
        data = files.read(block_path(int(chunk[0])))
        if data is None:
            return None
        tensors, metadata = unpack(data)
        parts.append(tensors["images"])
        seconds += metadata["seconds"]
        evaluations += metadata["evaluations"]
    return Drawn(torch.cat(parts), seconds, evaluations)


def block_path(first: int) -> str:
    """Where the batch of images that begins with index `first` waits in its cell's folder until it is measured."""
    return f"{DRAWN_FOLDER}/{first:010d}.safetensors"


def check_evaluations(denoiser: Denoiser, samplers: Sequence[Sampler], count: int, batch_size: int) -> None:
    """RuntimeError when the denoiser counted other evaluations than the samplers declare together."""
    batches, declared = -(-count // batch_size), shared_evaluations(samplers)
    if denoiser.nfe != batches * declared:
        names = ", ".join(sampler.label for sampler in samplers[:3])
        raise RuntimeError(f"{names} declare {declared} evaluations per image but used {denoiser.nfe / batches}")
