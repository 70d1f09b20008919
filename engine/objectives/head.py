"""What the objectives that train a head for a covariance share.
Imports no torch before a loss is asked for."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from engine.backbones.base import ModelBase
from engine.backbones.cost import Cost, Layer, conv, linear, norm
from engine.backbones.shape import NetShape
from engine.conflicts import ConfigConflict
from engine.objectives.base import ObjectiveBase, StartFacts
from engine.objectives.design import Design, chain
from engine.process.noise_levels import UniformTime
from engine.process.schedules import ScheduleName
from engine.process.weighting import UniformWeight

if TYPE_CHECKING:
    from torch import nn

    from engine.denoiser import VarianceModel

HeadName = Literal["simple", "complex", "released_complex"]
"""simple: norm and a convolution, as P6's code for CIFAR-10 and CelebA; complex: a
residual block before them; released_complex: P6's code's for ImageNet-64 and LSUN,
whose residual block is told of noise level and class and has the network's dropout."""


class HeadObjective(ObjectiveBase):
    """A head on a frozen network, which `start` names, for the diagonal of Cov[x0 | x]. Only the head is trained.

    A kind says what the head regresses (`losses`) and how its output is read (`variance_model`);
    the covariance of samplers that reads it has the kind's name.
    """

    is_head: ClassVar[bool] = True

    head: HeadName = "simple"
    """simple: norm and a convolution; complex: a residual block before them; released_complex:
    as P6's code, a residual block that is told of noise level and class and has the network's dropout."""
    schedule: ScheduleName = "linear"
    """Chain whose timesteps the head is trained on."""
    num_timesteps: int = Field(default=1000, ge=2)
    """Length T of the chain."""
    backbone_dropout: Literal["off", "on"] = "off"
    """Whether the frozen network's dropout acts while the head is trained: off, or as in P6's code on."""

    @property
    def design(self) -> Design:
        """Which noise levels the head is shown; how the network predicts is the start's affair."""
        return Design(chain(self.schedule, self.num_timesteps), "eps", UniformWeight(), UniformTime())

    def start_conflicts(self, start: StartFacts | None) -> Iterator[ConfigConflict]:
        """What keeps the head from a finished network."""
        if start is None:
            yield ("objective.kind",), f"{self.kind} completes a finished training: say which in `start`"
        elif not start.model.has_head_features:
            reason = f"{self.kind} reads a U-Net's last features, and {start.model.kind} has none"
            yield ("objective.kind", "model.kind"), reason
        elif start.objective.is_head:
            yield ("start.objective.kind",), start.objective.no_network
        elif start.named_model not in (None, start.model):
            reason = f"{self.kind} trains a head on its start's network: leave start.model out"
            yield ("start.model", "model"), reason

    def complete(self, net: "nn.Module", in_channels: int) -> "nn.Module":
        """The frozen network with a fresh head."""
        from engine.objectives.losses.covariance_head import attach_head

        return attach_head(net, self.head, in_channels, backbone_dropout=self.backbone_dropout == "on")

    def added_layers(self, model: ModelBase, shape: NetShape) -> tuple[Layer, ...]:
        """The head."""
        channels = model.head_feature_channels(shape)
        embedding = model.head_embedding_width(shape)
        return (Layer(f"{self.head} head", head_cost(self.head, channels, embedding, shape)),)

    @property
    def head_covariance(self) -> str:
        """Its kind."""
        return self.kind

    @abstractmethod
    def variance_model(self) -> "VarianceModel":
        """Cov[x0 | x] off the head's output."""


def head_cost(head: HeadName, width: int, embedding: int, shape: NetShape) -> Cost:
    """Cost of a head on `width` channels of features and
    `embedding` of noise level and class, its backbone apart."""
    cost = norm(width) + conv(width, shape.in_channels, 3, shape.resolution)
    if head != "simple":
        for _ in range(2):
            cost += norm(width) + conv(width, width, 3, shape.resolution)
    if head == "released_complex":
        cost += linear(embedding, 2 * width)
    return cost
