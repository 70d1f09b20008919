"""The backbones by name. Imports torch; what a plan needs is in `layout` and `flops`."""

from collections.abc import Callable

from torch import nn

from engine.backbones.adm import AdmNet
from engine.backbones.ddpmpp import DdpmPlusPlusNet
from engine.backbones.dit import DitNet
from engine.backbones.dydit import DyDitNet
from engine.backbones.mlp import MlpNet
from engine.backbones.ncsnpp import NcsnPlusPlusNet
from engine.backbones.unet import UNetNet
from engine.config.model import Model
from engine.config.network_shape import NetShape

BACKBONES: dict[str, Callable[..., nn.Module]] = {
    "adm": AdmNet,
    "ddpmpp": DdpmPlusPlusNet,
    "dit": DitNet,
    "dydit": DyDitNet,
    "mlp": MlpNet,
    "ncsnpp": NcsnPlusPlusNet,
    "unet": UNetNet,
}


def build_backbone(model: Model, shape: NetShape) -> nn.Module:
    """The network of a model configuration, with fresh weights from torch's global generator.

    It maps images [B, in_channels, resolution, resolution], c_noise [B], labels [B] or None, and augmentation
    labels [B, augment_labels] or None to [B, out_channels, resolution, resolution]. Raises ValueError when
    the model does not fit the resolution.
    """
    return BACKBONES[model.kind](model, shape)
