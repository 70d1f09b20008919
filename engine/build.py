"""From a configuration to a network behind the denoiser seam."""

import torch
from torch import nn

from engine.backbones.ocm_head import attach_head
from engine.backbones.shared.checkpointing import set_checkpointing
from engine.config.experiment import Experiment
from engine.config.network_shape import net_shape
from engine.config.objective import OcmObjective
from engine.config.train import Precision
from engine.denoiser import Denoiser, VarianceModel
from engine.noise import Purpose, generator_seed
from engine.objectives.ocm import OcmVariance
from engine.process.precond import Preconditioning


def build_network(experiment: Experiment) -> nn.Module:
    """The network with fresh weights, a function of the training seed alone; OCM's is a head on its
    parent's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_seed(experiment.train.seed, Purpose.WEIGHTS, 0))
        net = _network(experiment)
    set_checkpointing(net, experiment.train.checkpointing)
    return net


def _network(experiment: Experiment) -> nn.Module:
    if isinstance(experiment.objective, OcmObjective) and experiment.parent is not None:
        return attach_head(
            _backbone(experiment.parent), experiment.objective, net_shape(experiment).in_channels
        )
    return _backbone(experiment)


def _backbone(experiment: Experiment) -> nn.Module:
    return experiment.model.build(net_shape(experiment))


def build_denoiser(experiment: Experiment, net: nn.Module, precision: Precision | None = None) -> Denoiser:
    """The network with the preconditioning of the experiment's objective, and OCM's variance where it has its
    head.

    `precision` None is what the experiment trains in.
    """
    design = experiment.base_objective.design
    precond = Preconditioning(design.process, design.target, design.sigma_data)
    return Denoiser(net, precond, precision or experiment.train.precision, variance_model(experiment))


def variance_model(experiment: Experiment) -> VarianceModel | None:
    """What reads Cov[x0 | x] off the network's output: OCM's head has it, other networks have not."""
    return OcmVariance() if isinstance(experiment.objective, OcmObjective) else None
