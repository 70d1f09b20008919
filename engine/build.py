"""From a configuration to a network behind the denoiser seam."""

import torch
from torch import nn

from engine.backbones.ocm_head import attach_head
from engine.backbones.registry import build_backbone
from engine.data.catalog import CATALOG, NUM_AUGMENT_LABELS
from engine.denoiser import Denoiser, VarianceModel
from engine.noise import Purpose, generator_seed
from engine.objective_spec import OcmObjective
from engine.objectives.ocm import OcmVariance
from engine.process.precond import Preconditioning
from engine.spec import Experiment


def build_network(experiment: Experiment) -> nn.Module:
    """The network with fresh weights, a function of the training seed alone; OCM's is a head on its parent's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_seed(experiment.train.seed, Purpose.WEIGHTS, 0))
        if isinstance(experiment.objective, OcmObjective) and experiment.parent is not None:
            channels = CATALOG[experiment.data.name].channels
            return attach_head(_backbone(experiment.parent), experiment.objective, channels)
        return _backbone(experiment)


def _backbone(experiment: Experiment) -> nn.Module:
    info = CATALOG[experiment.data.name]
    return build_backbone(
        experiment.model,
        resolution=info.resolution,
        in_channels=info.channels,
        num_classes=info.num_classes,
        out_channels=info.channels * (2 if experiment.objective.design.learned_variance else 1),
        augment_labels=NUM_AUGMENT_LABELS if experiment.data.augment > 0 else 0,
    )


def build_denoiser(experiment: Experiment, net: nn.Module) -> Denoiser:
    """The network with the preconditioning of the experiment's objective, and OCM's variance where it has its head."""
    design = experiment.base_objective.design
    precond = Preconditioning(design.process, design.target, design.sigma_data)
    return Denoiser(net, precond, experiment.train.precision, variance_model(experiment))


def variance_model(experiment: Experiment) -> VarianceModel | None:
    """What reads Cov[x0 | x] off the network's output: OCM's head has it, other networks have not."""
    return OcmVariance() if isinstance(experiment.objective, OcmObjective) else None
