"""From a configuration to a network behind the denoiser seam."""

import torch
from torch import nn

from engine.backbones.shared.checkpointing import set_checkpointing
from engine.config.experiment import Experiment
from engine.config.network_shape import net_shape
from engine.config.train import Precision
from engine.denoiser import Denoiser
from engine.noise import Purpose, generator_seed
from engine.process.precond import Preconditioning


def build_network(experiment: Experiment) -> nn.Module:
    """The network with fresh weights, a function of the training seed alone;
    OCM's is a head on its parent's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_seed(experiment.train.seed, Purpose.WEIGHTS, 0))
        net = _network(experiment)
    set_checkpointing(net, experiment.train.checkpointing)
    return net


def _network(experiment: Experiment) -> nn.Module:
    """A backbone of the experiment's own, or for a head that of
    the training it starts from, which is taken over as it is."""
    parent = experiment.parent
    owner = parent if parent is not None and experiment.objective.is_head else experiment
    backbone = owner.model.build(net_shape(owner))
    return experiment.objective.complete(backbone, net_shape(experiment).in_channels)


def build_denoiser(experiment: Experiment, net: nn.Module, precision: Precision | None = None) -> Denoiser:
    """The network with the preconditioning of the experiment's
    objective, and OCM's variance where it has its head.

    `precision` None is what the experiment trains in.
    """
    design = experiment.base_objective.design
    precond = Preconditioning(design.process, design.target, design.sigma_data)
    return Denoiser(
        net, precond, precision or experiment.train.precision, experiment.objective.variance_model()
    )
