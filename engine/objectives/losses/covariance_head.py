"""OCM's head: the diagonal of the posterior covariance from
a frozen network's last features [P6; playbook 3.7]."""

from typing import Protocol, cast

import torch.nn.functional as F
from torch import Tensor, nn

from engine.backbones.network import Network
from engine.backbones.shared.layers import zero_init
from engine.backbones.unet import network as unet
from engine.backbones.unets.layers import GroupNorm
from engine.backbones.unets.layout import Block
from engine.objectives.head import HeadName


class FeatureNet(Protocol):
    """What a backbone offers a head: its last features, and its own output read off them."""

    feature_channels: int

    embedding_channels: int
    """E."""
    dropout: float
    """Of its residual blocks."""

    def features_and_embedding(
        self, x: Tensor, c_noise: Tensor, label: Tensor | None, augment: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """[B, feature_channels, H, W] of images `x` [B, C, H, W], and the
        activated embedding [B, E] of what the network is told beside them."""

    def readout(self, features: Tensor) -> Tensor:
        """[B, out_channels, H, W] of features."""


class ResidualBlock(nn.Module):
    """Norm, convolution, norm, convolution, added to the input. The features already know the noise level."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm0 = _norm(channels)
        self.conv0 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = _norm(channels)
        self.conv1 = zero_init(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] to the same shape; at first the identity."""
        h = self.conv0(F.silu(self.norm0(x)))
        added: Tensor = self.conv1(F.silu(self.norm1(h)))
        return x + added


class ConditionedHead(nn.Module):
    """P6's complex head: a U-Net's own residual block, scaled and shifted by the embedding, then norm and
    convolution [P6, code]."""

    def __init__(self, channels: int, embedding_channels: int, dropout: float, last: nn.Conv2d) -> None:
        super().__init__()
        # Neither resampled nor of other channels: the resolution plays no part.
        block = Block("residual", channels, channels, resolution=1)
        self.block = unet.ResidualBlock(block, embedding_channels, dropout, min_channels=2)
        self.norm = _norm(channels)
        self.last = last

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        """[B, in_channels, H, W] of features [B, C, H, W] and the embedding [B, E]."""
        found: Tensor = self.last(F.silu(self.norm(self.block(features, embedding))))
        return found


class OcmNet(Network):
    """A frozen backbone and a head: what the backbone predicts, and h = sigma^2 times the diagonal of the
    score's Jacobian, from one evaluation.

    The backbone's weights take no gradient and it stays in evaluation mode, whatever mode
    the head is in, unless `backbone_dropout` lets it drop out while the head is trained.
    The head passes no gradient to the features. Both are part of the state dict.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, *, backbone_dropout: bool = False) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False).eval()
        self.head = head
        self.backbone_dropout = backbone_dropout

    def forward(
        self, x: Tensor, c_noise: Tensor, label: Tensor | None = None, augment: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The backbone's output [B, C or 2 C, H, W] and h [B, C, H, W] of images `x` [B, C, H, W].

        The first can be differentiated with respect to `x`, where `x` asks for it. The other arguments are
        the backbone's.
        """
        backbone = cast(FeatureNet, self.backbone)
        features, embedding = backbone.features_and_embedding(x, c_noise, label, augment)
        told = (embedding.detach(),) if isinstance(self.head, ConditionedHead) else ()
        return backbone.readout(features), self.head(features.detach(), *told)

    def compiled_parts(self) -> list[nn.Module]:
        """The blocks of the backbone and the head.
        OCM differentiates its frozen network on the way, so that the backbone's blocks stand alone."""
        within = self.backbone.parts_within() if isinstance(self.backbone, Network) else []
        return [*within, self.head]

    def heir(self) -> nn.Module:
        """The frozen backbone."""
        return self.backbone

    def train(self, mode: bool = True) -> "OcmNet":
        """Set the mode of the head, and of the backbone where its dropout is to act."""
        self.training = mode
        self.head.train(mode)
        self.backbone.train(mode and self.backbone_dropout)
        return self


def attach_head(
    backbone: nn.Module, head: HeadName, in_channels: int, *, backbone_dropout: bool = False
) -> OcmNet:
    """Freeze `backbone`, for images of `in_channels`, and give
    it a head with fresh weights from torch's generator.

    At first h is 0. The cost of the head is `engine.objectives.head.head_cost`.
    """
    features = cast(FeatureNet, backbone)
    channels = features.feature_channels
    last = zero_init(nn.Conv2d(channels, in_channels, 3, padding=1))
    made: nn.Module
    if head == "released_complex":
        made = ConditionedHead(channels, features.embedding_channels, features.dropout, last)
    else:
        before = [ResidualBlock(channels)] if head == "complex" else []
        made = nn.Sequential(*before, _norm(channels), nn.SiLU(), last)
    return OcmNet(backbone, made, backbone_dropout=backbone_dropout)


def _norm(channels: int) -> GroupNorm:
    return GroupNorm(channels, min_channels=2, eps=1e-5)
