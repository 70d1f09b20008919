"""What a network is built for: the images it takes, what it predicts, what it is told. Imports no torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class NetShape:
    """Inputs and outputs: images [B, in_channels, resolution,
    resolution] become [B, out_channels, same, same]."""

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


IMAGENET64 = NetShape(resolution=64, in_channels=3, num_classes=1000)
IMAGENET64_VARIANCE = NetShape(resolution=64, in_channels=3, num_classes=1000, learned_variance=True)
CIFAR10 = NetShape(resolution=32, in_channels=3, num_classes=10)
CIFAR10_AUGMENTED = NetShape(resolution=32, in_channels=3, num_classes=10, augment_labels=9)
FACES64_AUGMENTED = NetShape(resolution=64, in_channels=3, num_classes=0, augment_labels=9)
LATENTS = NetShape(resolution=32, in_channels=4, num_classes=1000, learned_variance=True)
