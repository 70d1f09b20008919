"""The state a training begins with: fresh weights, those of a finished training, or its own checkpoint."""

import torch

from engine.backbones.ocm_head import OcmNet
from engine.build import build_network
from engine.files import Files
from engine.spec import Experiment
from engine.training.levels import LevelDrawer
from engine.training.snapshot import TrainingState, load_snapshot, restore_checkpoint
from engine.weights_spec import EmaWeights


def starting_state(
    experiment: Experiment, files: Files, parent_files: Files | None, device: torch.device
) -> TrainingState:
    """The state to train on from, on `device`. Raises FileNotFoundError when the training to start from is not there.

    Of another training the averaged weights of its last snapshot are taken.
    """
    net = build_network(experiment)
    parent = experiment.parent
    if parent is not None:
        if parent_files is None:
            raise FileNotFoundError("the training to start from has no folder")
        target = net.backbone if isinstance(net, OcmNet) else net
        try:
            load_snapshot(parent_files, parent.train, parent.train.snapshot_images[-1], target, EmaWeights())
        except FileNotFoundError as missing:
            raise FileNotFoundError(f"the training to start from has no {missing}") from None
    levels = LevelDrawer(experiment.objective.design, experiment.train.batch_size, device)
    state = TrainingState.start(net.to(device), experiment.train, levels)
    restore_checkpoint(files, state)
    return state
