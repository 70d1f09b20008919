"""What a network is built for: the images it takes, what it predicts, what it is told. Imports no torch."""

from dataclasses import dataclass

from engine.config.experiment import Experiment
from engine.data.catalog import NUM_AUGMENT_LABELS
from engine.data.registry import DATASETS


@dataclass(frozen=True)
class NetShape:
    """Inputs and outputs: images [B, in_channels, resolution, resolution] become [B, out_channels, same,
    same]."""

    resolution: int
    """Pixels, or latent positions, a side."""
    in_channels: int
    num_classes: int
    learned_variance: bool = False
    """The network also predicts the variance of the reverse step, with as many channels again."""
    augment_labels: int = 0
    """Numbers that tell the network how an image was augmented; 0 without that input."""

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.in_channels * (2 if self.learned_variance else 1)


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
