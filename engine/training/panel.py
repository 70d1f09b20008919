"""The picture after every snapshot: fixed latents, fixed deterministic sampler, so only the weights change."""

import torch
from torch import nn

from engine.build import build_denoiser
from engine.data.catalog import CATALOG
from engine.data.images import save_grid
from engine.files import Files
from engine.samplers import Heun
from engine.sampling import generate
from engine.spec import Experiment

PANEL_SAMPLER = Heun(num_steps=18)
PANEL_IMAGES = 64
PANEL_SEED = 0


def panel_path(images_shown: int) -> str:
    """Where the panel of a snapshot lies in the training's folder."""
    return f"panels/images_{images_shown:010d}.png"


def save_panel(files: Files, experiment: Experiment, net: nn.Module, images_shown: int, device: torch.device) -> None:
    """Sample the 8x8 grid of fixed latents with the averaged weights and keep it [playbook 5.0]."""
    info = CATALOG[experiment.data.name]
    images = generate(
        build_denoiser(experiment, net).to(device),
        PANEL_SAMPLER,
        indices=torch.arange(PANEL_IMAGES),
        shape=(info.channels, info.resolution, info.resolution),
        seed=PANEL_SEED,
        batch_size=PANEL_IMAGES,
        num_classes=info.num_classes if experiment.model.class_conditional else None,
    )
    files.write(panel_path(images_shown), save_grid(images, columns=8, scale=max(1, 32 // info.resolution)))
