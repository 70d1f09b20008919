"""From a configuration to a network behind the denoiser seam."""

import torch
from torch import nn

from engine.backbones.registry import build_backbone
from engine.data.catalog import CATALOG
from engine.denoiser import Denoiser
from engine.noise import Purpose, generator_seed
from engine.process.precond import preconditioning
from engine.spec import Experiment


def build_network(experiment: Experiment) -> nn.Module:
    """The backbone with fresh weights, a function of the training seed alone."""
    info = CATALOG[experiment.data.name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_seed(experiment.train.seed, Purpose.WEIGHTS, 0))
        return build_backbone(
            experiment.model, resolution=info.resolution, in_channels=info.channels, num_classes=info.num_classes
        )


def build_denoiser(experiment: Experiment, net: nn.Module) -> Denoiser:
    """The network with the preconditioning of the experiment's objective."""
    return Denoiser(net, preconditioning(experiment.objective), experiment.train.precision)
