"""The backbones by name. Imports torch; what a plan needs is in `layout` and `flops`."""

from collections.abc import Callable

from torch import nn

from engine.backbones.ddpmpp import DdpmPlusPlusNet
from engine.backbones.unet import UNetNet
from engine.spec import Model

BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "ddpmpp": DdpmPlusPlusNet,
    "unet": UNetNet,
}


def build_backbone(
    model: Model,
    *,
    resolution: int,
    in_channels: int,
    num_classes: int,
    out_channels: int | None = None,
    augment_labels: int = 0,
) -> nn.Module:
    """The network of a model configuration, with fresh weights from torch's global generator.

    It maps images [B, in_channels, resolution, resolution], c_noise [B], labels [B] or None, and augmentation labels
    [B, augment_labels] or None to [B, out_channels, resolution, resolution]; `out_channels` None means as many as
    `in_channels`.
    Raises ValueError when the model does not fit the resolution.
    """
    return BACKBONES[model.kind](
        model,
        resolution=resolution,
        in_channels=in_channels,
        num_classes=num_classes,
        out_channels=out_channels,
        augment_labels=augment_labels,
    )
