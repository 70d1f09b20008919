"""From a denoiser and a sampler to images, keyed by sample index and evaluated at one fixed batch shape."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from engine.batch_shape import repeated
from engine.config.experiment import Experiment
from engine.data.datasets import to_uint8
from engine.data.images import save_grid
from engine.data.registry import DATASETS
from engine.denoiser import Denoiser
from engine.guidance import Guided
from engine.noise import Purpose, normal
from engine.samplers.base import SamplerBase
from engine.samplers.steps import NoiseFn
from engine.sampling.prefix_sharing import NOISES_KEPT, guided_trees, sample_shared
from engine.sampling.step_packing import PackedSteps, steps_per_batch

PANEL_ROWS = 8
PANEL_PIXELS = 32


Emit = Callable[[int, Tensor, Tensor], None]
"""(number of a sampler, sample indices [n], their images uint8 [n, C, H, W] on the CPU)."""


def generate_images(
    denoiser: Denoiser,
    experiment: Experiment,
    sampler: SamplerBase,
    *,
    count: int,
    seed: int,
    batch_size: int,
) -> Tensor:
    """The experiment's images of sample indices 0 .. count - 1, uint8 [count, C, H, W]."""
    parts: list[Tensor] = []
    generate_images_shared(
        denoiser,
        experiment,
        [sampler],
        indices=torch.arange(count),
        seed=seed,
        batch_size=batch_size,
        emit=lambda number, chunk, images: parts.append(images),
    )
    return torch.cat(parts)


def generate_images_shared(
    denoiser: Denoiser,
    experiment: Experiment,
    samplers: Sequence[SamplerBase],
    *,
    indices: Tensor,
    seed: int,
    batch_size: int,
    emit: Emit,
) -> int:
    """The experiment's images of these sample indices under several samplers, handed on batch by batch.

    Returns what `generate_shared` does.
    """
    info = DATASETS[experiment.data.name]
    return generate_shared(
        denoiser,
        samplers,
        indices=indices,
        shape=(info.channels, info.resolution, info.resolution),
        seed=seed,
        batch_size=batch_size,
        num_classes=info.num_classes if experiment.model.class_conditional else None,
        emit=emit,
    )


def panel_size(experiment: Experiment) -> tuple[int, int]:
    """Images and columns of a sample panel: a column for each class where there are few, else 8 by 8."""
    classes = DATASETS[experiment.data.name].num_classes
    columns = classes if experiment.model.class_conditional and classes <= 10 else PANEL_ROWS
    return PANEL_ROWS * columns, columns


def panel_png(images: Tensor, experiment: Experiment) -> bytes:
    """PNG bytes of the first images as a panel, small images enlarged."""
    count, columns = panel_size(experiment)
    return save_grid(images[:count], columns=columns, scale=max(1, PANEL_PIXELS // images.shape[-1]))


def generate(denoiser: Denoiser, sampler: SamplerBase, **settings: Any) -> Tensor:
    """Images uint8 [len(indices), C, H, W] on the CPU under one sampler; the settings are
    `generate_shared`'s."""
    parts: list[Tensor] = []
    generate_shared(denoiser, [sampler], emit=lambda number, chunk, images: parts.append(images), **settings)
    return torch.cat(parts)


def remembered_noise(seed: int, keys: Tensor, shape: tuple[int, ...], steps: int) -> NoiseFn:
    """Noise of a step [len(keys), *shape], that of the last `steps` steps asked for being remembered.

    It is keyed, so making it anew would give the same;
    but neighbouring branches of a tree ask for the same few steps again and again.
    """

    @lru_cache(maxsize=steps)
    def noise(step: int) -> Tensor:
        return normal(seed, Purpose.SAMPLER_STEP, keys, shape, step)

    return noise


def finished(x0: Tensor, sampler: SamplerBase) -> Tensor:
    """A sampler's final state as uint8 on the CPU. FloatingPointError for one that is not finite."""
    if not bool(x0.isfinite().all()):
        raise FloatingPointError(f"{sampler.label} gave images that are not finite")
    return to_uint8(x0).cpu()


@torch.inference_mode()
def generate_shared(
    denoiser: Denoiser,
    samplers: Sequence[SamplerBase],
    *,
    indices: Tensor,
    shape: tuple[int, int, int],
    seed: int,
    batch_size: int,
    emit: Emit,
    num_classes: int | None = None,
) -> int:
    """Images of sample indices under several samplers, each
    batch handed on as soon as a sampler has finished it.

    What samplers do alike is done once; where few images do not fill a batch, several steps
    share it. An image depends only on (seed, its index, the sampler, the weights): latents
    and step noise are keyed, and the network always sees `batch_size` images, so on one
    kind of device images are equal bit for bit however the indices are split and whichever
    samplers run together. With `num_classes`, index i gets class i modulo num_classes.

    Returns images times network evaluations, padding left out.
    Raises FloatingPointError for images that are not finite.
    """
    denoiser.eval()
    evaluations = 0
    trees = guided_trees(samplers)
    device = next(denoiser.parameters()).device
    for chunk in indices.split(batch_size):
        keys = chunk.to(device)
        at_once = steps_per_batch(denoiser, len(chunk), batch_size)
        label = None if num_classes is None else repeated(keys, batch_size) % num_classes
        latents = normal(seed, Purpose.LATENT, keys, shape)
        noise = remembered_noise(seed, keys, shape, NOISES_KEPT * at_once)

        def hand_on(number: int, x0: Tensor, chunk: Tensor = chunk) -> None:
            emit(number, chunk, finished(x0, samplers[number]))

        for guiding, tree in trees.items():
            packed = PackedSteps(Guided(denoiser, label, guiding.weight, guiding.channels), batch_size)
            sample_shared(tree, packed, latents, noise, hand_on, at_once)
            evaluations += packed.evaluations
    return evaluations
