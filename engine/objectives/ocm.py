"""OCM's objective, which trains a head. Imports no torch before its loss is asked for."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from engine.backbones.base import ModelBase
from engine.backbones.cost import Cost, Layer, conv, norm
from engine.backbones.shape import NetShape
from engine.conflicts import ConfigConflict
from engine.objectives.base import ObjectiveBase, StartFacts
from engine.objectives.design import Design, chain
from engine.process.noise_levels import UniformTime
from engine.process.schedules import ScheduleName
from engine.process.weighting import UniformWeight

if TYPE_CHECKING:
    from torch import nn

    from engine.denoiser import Denoiser, VarianceModel
    from engine.objectives.losses.batch import Noised, Terms


class OcmObjective(ObjectiveBase):
    """OCM: a head for the diagonal posterior covariance on a frozen network [P6; playbook 3.6].

    Needs `start`: the finished training whose network it completes. Only the head is trained.
    """

    position: ClassVar[int] = 7
    is_head: ClassVar[bool] = True

    kind: Literal["ocm"] = "ocm"
    head: Literal["simple", "complex"] = "simple"
    """simple: norm and a convolution; complex: a residual block before them."""
    schedule: ScheduleName = "linear"
    """Chain whose timesteps the head is trained on."""
    num_timesteps: int = Field(default=1000, ge=2)
    """Length T of the chain."""

    @property
    def design(self) -> Design:
        """Which noise levels the head is shown; how the network predicts is the start's affair."""
        return Design(chain(self.schedule, self.num_timesteps), "eps", UniformWeight(), UniformTime())

    def start_conflicts(self, start: StartFacts | None) -> Iterator[ConfigConflict]:
        """What keeps the head from a finished network."""
        if start is None:
            yield ("objective.kind",), "ocm completes a finished training: say which in `start`"
        elif not start.model.has_head_features:
            reason = f"ocm reads a U-Net's last features, and {start.model.kind} has none"
            yield ("objective.kind", "model.kind"), reason
        elif start.objective.is_head:
            yield ("start.objective.kind",), start.objective.no_network
        elif start.named_model not in (None, start.model):
            reason = "ocm trains a head on its start's network: leave start.model out"
            yield ("start.model", "model"), reason

    def complete(self, net: "nn.Module", in_channels: int) -> "nn.Module":
        """The frozen network with a fresh head."""
        from engine.objectives.losses.covariance_head import attach_head

        return attach_head(net, self.head, in_channels)

    def added_layers(self, model: ModelBase, shape: NetShape) -> tuple[Layer, ...]:
        """The head."""
        return (Layer(f"{self.head} head", head_cost(self.head, model.head_feature_channels(shape), shape)),)

    def variance_model(self) -> "VarianceModel":
        """Cov[x0 | x] off the head's output."""
        from engine.objectives.losses.covariance import OcmVariance

        return OcmVariance()

    def losses(self, denoiser: "Denoiser", batch: "Noised") -> "Terms":
        """|estimate - h|^2 of the diagonal h [P6; playbook 3.7]."""
        from engine.objectives.losses.covariance import covariance_losses

        return covariance_losses(denoiser, batch)


def head_cost(head: Literal["simple", "complex"], width: int, shape: NetShape) -> Cost:
    """Cost of a head on `width` channels of features, its backbone apart."""
    cost = norm(width) + conv(width, shape.in_channels, 3, shape.resolution)
    if head == "complex":
        for _ in range(2):
            cost += norm(width) + conv(width, width, 3, shape.resolution)
    return cost
