"""Do the same latents give the same image whatever the
number of steps? The first check of a sampler [P2 5.2]."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.config.experiment import Experiment
from engine.data.images import save_grid
from engine.denoiser import Denoiser
from engine.metrics.features import FeatureExtractor
from engine.metrics.kinds.agreement import agreement as agreement
from engine.samplers.base import SamplerBase
from engine.sampling.generate import PANEL_PIXELS, generate_images

PANEL_COLUMNS = 10


@dataclass(frozen=True)
class Agreement:
    """How much a sampler's images are those of the sampler
    with the most evaluations, whose own score is 1."""

    label: str
    nfe: int
    score: float


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
    """Agreement of each sampler with the one of most evaluations, and a panel:
    a row a sampler, a column a latent.

    The samplers are one deterministic sampler at several numbers of steps, fewest evaluations first in the
    result. Scores compare pixels, or features when an extractor is given. A low score says: look for a bug in
    the sampler or for steps too coarse before tuning anything [playbook 5.2].
    """
    ordered = sorted(samplers, key=lambda sampler: sampler.nfe)
    settings = {"count": count, "seed": seed, "batch_size": batch_size}
    sets = [generate_images(denoiser, experiment, sampler, **settings) for sampler in ordered]
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
