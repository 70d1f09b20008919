"""One row of numbers per image from a network that always sees one batch shape, and their standard error."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from engine.batch_shape import repeated
from engine.denoiser import Denoiser
from engine.guidance import Guided
from engine.samplers.base import PLAIN, Guiding
from engine.samplers.steps import DenoiseFn

Measure = Callable[[DenoiseFn, Tensor, Tensor], Tensor]
"""(denoise, images uint8 [B, C, H, W], their indices int64 [B]) -> one row per image [B, ...]."""


def measure_images(
    measure: Measure,
    denoiser: DenoiseFn,
    images: Tensor,
    labels: Tensor | None,
    *,
    batch_size: int,
    guiding: Guiding = PLAIN,
) -> Tensor:
    """Rows [N, ...] on the CPU of images uint8 [N, C, H, W], measured `batch_size` at a time.

    The last batch is filled up with images of its own, so with noise keyed by index a row depends on its
    image, its index and the batch size alone. Images and `labels` int64 [N] are on the denoiser's device.
    Without labels any denoiser that samplers take will do. Raises ValueError for images that are not bytes,
    for none at all, and for labels or guidance with anything but a Denoiser.
    """
    if images.dtype != torch.uint8 or len(images) == 0:
        raise ValueError(f"likelihoods need at least one image of bytes, not {len(images)} of {images.dtype}")
    if isinstance(denoiser, nn.Module):
        denoiser.eval()
    rows = []
    for chunk in torch.arange(len(images), device=images.device).split(batch_size):
        keys = repeated(chunk, batch_size)
        denoise = _with_labels(denoiser, None if labels is None else labels[keys], guiding)
        rows.append(measure(denoise, images[keys], keys)[: len(chunk)].cpu())
    return torch.cat(rows)


def bits_per_dim(nats: Tensor) -> Tensor:
    """Sum over an image's pixels and channels [B, ...] of nats, as bits per dimension [B]."""
    return nats.flatten(1).mean(1) / math.log(2)


def standard_error(values: Tensor) -> float | None:
    """Standard error of the mean of values [N]; None for a single one, which tells nothing of the spread."""
    return float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else None


def _with_labels(denoiser: DenoiseFn, label: Tensor | None, guiding: Guiding) -> DenoiseFn:
    if label is None and guiding.weight == 1:
        return denoiser
    if not isinstance(denoiser, Denoiser):
        raise ValueError("labels and guidance need a Denoiser")
    return Guided(denoiser, label, guiding.weight, guiding.channels)
