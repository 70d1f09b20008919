"""Do the same latents give the same image whatever the number of steps? The first check of a sampler [P2
5.2]."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.config.experiment import Experiment
from engine.data.images import save_grid
from engine.denoiser import Denoiser
from engine.metrics.features import FeatureExtractor
from engine.samplers.base import SamplerBase
from engine.sampling.generate import PANEL_PIXELS, draw

PANEL_COLUMNS = 10


@dataclass(frozen=True)
class Agreement:
    """How much a sampler's images are those of the sampler with the most evaluations, whose own score is
    1."""

    label: str
    nfe: int
    score: float


def agreement(images: Tensor, reference: Tensor) -> float:
    """1 - mean_i |x_i - y_i|^2 / mean_{i != j} |x_i - y_j|^2 of images or features [N, ...] of N latents.

    1: the same images. 0: no more alike than images of two different latents. ValueError for fewer than three
    of them, or for different shapes.
    """
    x, y = images.flatten(1).double(), reference.flatten(1).double()
    if x.shape != y.shape or len(x) < 3:
        raise ValueError(
            f"agreement needs two sets of as many images, three or more, not {len(x)} and {len(y)}"
        )
    distances = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    count, matched = len(x), distances.diagonal().sum()
    if matched == 0:
        return 1.0
    unrelated = (distances.sum() - matched) / (count * (count - 1))
    return float(1 - matched / count / unrelated)


def consistency(
    denoiser: Denoiser,
    experiment: Experiment,
    samplers: Sequence[SamplerBase],
    *,
    count: int,
    seed: int,
    batch_size: int,
    extractor: FeatureExtractor | None = None,
) -> tuple[list[Agreement], bytes]:
    """Agreement of each sampler with the one of most evaluations, and a panel: a row a sampler, a column a
    latent.

    The samplers are one deterministic sampler at several numbers of steps, fewest evaluations first in the
    result. Scores compare pixels, or features when an extractor is given. A low score says: look for a bug in
    the sampler or for steps too coarse before tuning anything [playbook 5.2].
    """
    ordered = sorted(samplers, key=lambda sampler: sampler.nfe)
    sets = [draw(denoiser, experiment, one, count=count, seed=seed, batch_size=batch_size) for one in ordered]
    compared = sets if extractor is None else [extractor(images) for images in sets]
    scores = [
        Agreement(sampler.label, sampler.nfe, agreement(values, compared[-1]))
        for sampler, values in zip(ordered, compared, strict=True)
    ]
    return scores, panel(sets)


def panel(sets: Sequence[Tensor]) -> bytes:
    """PNG bytes of image sets uint8 [N, C, H, W]: a row for each set, the same latents below each other."""
    columns = min(PANEL_COLUMNS, len(sets[0]))
    scale = max(1, PANEL_PIXELS // sets[0].shape[-1])
    return save_grid(torch.cat([images[:columns] for images in sets]), columns=columns, scale=scale)
