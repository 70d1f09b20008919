"""What an experiment's network is built for. Imports no torch."""

from engine.backbones.shape import NetShape
from engine.config.experiment import Experiment
from engine.data.catalog import NUM_AUGMENT_LABELS
from engine.data.registry import DATASETS


def net_shape(experiment: Experiment) -> NetShape:
    """The shape of an experiment's network."""
    info = DATASETS[experiment.data.name]
    return NetShape(
        resolution=info.resolution,
        in_channels=info.channels,
        num_classes=info.num_classes,
        learned_variance=experiment.objective.design.learned_variance,
        augment_labels=NUM_AUGMENT_LABELS if experiment.data.augment > 0 else 0,
    )
