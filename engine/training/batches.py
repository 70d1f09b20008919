"""What the network is shown: the images, noise levels and noise at any position of the training stream.

Everything is keyed by (seed, position), so a step sees the same global batch however many workers share it.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from engine.config.experiment import Experiment
from engine.data.augment import NUM_DRAWS, augment
from engine.data.datasets import ImageSet, to_unit
from engine.noise import Purpose, normal, uniform, uniforms


@dataclass(frozen=True)
class Batch:
    """Clean images x0 in [-1, 1] and noise eps [B, C, H, W], and uniform draws [B] for the noise levels."""

    x0: Tensor
    label: Tensor | None
    """Classes [B], -1 where hidden; None for an unconditional network."""
    augment: Tensor | None
    """Which augmentations were applied [B, 9]; None without augmentation."""
    uniform: Tensor
    eps: Tensor


@lru_cache(maxsize=2)
def epoch_order(seed: int, num_images: int, epoch: int) -> Tensor:
    """The order in which one epoch shows the images: a permutation of 0 .. num_images - 1."""
    return uniform(seed, Purpose.SHUFFLE, torch.arange(num_images), step=epoch).argsort(stable=True)


def image_indices(seed: int, num_images: int, positions: Tensor) -> Tensor:
    """Which image is shown at each position of an endless stream of shuffled epochs."""
    epochs = positions // num_images
    indices = torch.empty_like(positions)
    for epoch in epochs.unique().tolist():
        inside = epochs == epoch
        indices[inside] = epoch_order(seed, num_images, epoch)[positions[inside] % num_images]
    return indices


def make_batch(images: ImageSet, experiment: Experiment, positions: Tensor, device: torch.device) -> Batch:
    """The batch shown at int64 `positions` (on the CPU), on `device`."""
    data = experiment.data
    seed = experiment.train.seed
    indices = image_indices(seed, len(images.images), positions)
    x0 = to_unit(images.images[indices].to(device, non_blocking=True))
    keys = positions.to(device, non_blocking=True)
    if data.x_flip:
        flipped = uniform(seed, Purpose.FLIP, keys) < 0.5
        x0 = torch.where(flipped[:, None, None, None], x0.flip(-1), x0)
    shown_as = None
    if data.augment > 0:
        x0, shown_as = augment(x0, uniforms(seed, Purpose.AUGMENT, positions, NUM_DRAWS), data.augment)
    return Batch(
        x0=x0,
        label=shown_labels(images.labels[indices].to(device, non_blocking=True), experiment, keys),
        augment=shown_as,
        uniform=uniform(seed, Purpose.NOISE_LEVEL, keys),
        eps=normal(seed, Purpose.TRAINING_NOISE, keys, tuple(x0.shape[1:])).float(),
    )


def shown_labels(labels: Tensor, experiment: Experiment, keys: Tensor) -> Tensor | None:
    """The labels [B] the network is told: -1 for those that
    label dropout hides, None when it takes no label."""
    model = experiment.model
    if not model.class_conditional:
        return None
    if model.label_dropout == 0:
        return labels
    hidden = uniform(experiment.train.seed, Purpose.LABEL_DROPOUT, keys) < model.label_dropout
    return torch.where(hidden, -1, labels)
