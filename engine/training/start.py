"""The state a training begins with: fresh weights, those of a finished training, or its own checkpoint."""

import torch
from torch import nn

from engine.backbones.network import heir
from engine.build import build_network
from engine.config.experiment import Experiment
from engine.config.weights import EmaWeights
from engine.files import Files
from engine.training.gap_history import Optimum
from engine.training.levels import LevelDrawer
from engine.training.snapshot import TrainingState, load_snapshot, restore_checkpoint


def starting_state(
    experiment: Experiment,
    files: Files,
    parent_files: Files | None,
    device: torch.device,
    optimum: Optimum | None = None,
) -> TrainingState:
    """The state to train on from, on `device`.
    Raises FileNotFoundError when the training to start from is not there.

    Of another training the averaged weights of its last snapshot are taken. `optimum` is what
    `training_optimum` found.
    """
    net = build_network(experiment)
    parent = experiment.parent
    if parent is not None:
        if parent_files is None:
            raise FileNotFoundError("the training to start from has no folder")
        target = heir(net)
        source = target if parent.model.kind == experiment.model.kind else build_network(parent)
        try:
            load_snapshot(parent_files, parent.train, parent.train.snapshot_images[-1], source, EmaWeights())
        except FileNotFoundError as missing:
            raise FileNotFoundError(f"the training to start from has no {missing}") from None
        if source is not target:
            adopt(target, source)
    levels = LevelDrawer(experiment.objective.design, experiment.train.batch_size, device, optimum)
    state = TrainingState.start(net.to(device), experiment.train, levels)
    restore_checkpoint(files, state)
    return state


def adopt(net: nn.Module, smaller: nn.Module) -> None:
    """Give a network the weights of one that it extends; what only it has keeps its fresh weights.

    Raises ValueError when the other has a weight that this one has not.
    """
    lacking = net.load_state_dict(smaller.state_dict(), strict=False).unexpected_keys
    if lacking:
        raise ValueError(f"a network without {', '.join(lacking[:3])} cannot go on from one that has them")
