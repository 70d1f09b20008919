"""The picture after every snapshot: fixed latents, fixed
deterministic sampler, so only the weights change."""

from contextlib import suppress

import torch
from torch import nn

from engine.build import build_denoiser
from engine.config.experiment import Experiment
from engine.config.train import Precision
from engine.files import Files
from engine.records import paths
from engine.samplers.heun import Heun
from engine.sampling.generate import generate_images, panel_png, panel_size

PANEL_SAMPLER = Heun(num_steps=18)
PANEL_SEED = 0


def save_panel(
    files: Files,
    experiment: Experiment,
    net: nn.Module,
    images_shown: int,
    device: torch.device,
    precision: Precision,
) -> None:
    """Sample the grid of fixed latents with the averaged weights, in the training's precision [playbook 5.0].

    No picture is kept of images that are not finite: they are no reason to stop a training.
    """
    count, _ = panel_size(experiment)
    denoiser = build_denoiser(experiment, net, precision).to(device)
    with suppress(FloatingPointError):
        images = generate_images(
            denoiser, experiment, PANEL_SAMPLER, count=count, seed=PANEL_SEED, batch_size=count
        )
        files.write(paths.snapshot_panel(images_shown), panel_png(images, experiment))
