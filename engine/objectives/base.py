"""What every objective has, and the questions that others ask it. Imports no torch.

A new kind must say its place in the design space and its loss. Everything else has a plain answer here.
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from engine.backbones.base import ModelBase
from engine.backbones.cost import Layer
from engine.backbones.shape import NetShape
from engine.conflicts import ConfigConflict
from engine.frozen import Frozen
from engine.kinds import LAST
from engine.objectives.design import Design

if TYPE_CHECKING:
    from torch import nn

    from engine.denoiser import Denoiser, VarianceModel
    from engine.objectives.losses.batch import Noised, Terms


class ObjectiveBase(Frozen):
    """What a training minimises. A kind adds a field `kind` with its name and its knobs."""

    if TYPE_CHECKING:
        # Declared by each kind as a Literal with a default; a field here would come before all others.
        kind: str

    position: ClassVar[int] = LAST
    """Place among the kinds in messages and in the schema."""
    is_head: ClassVar[bool] = False
    """It trains a head on the frozen network of a finished training, which its `start` names."""
    is_bound: ClassVar[bool] = False
    """Its loss is the variational bound itself, which takes the place of the design's weighted error."""

    @property
    @abstractmethod
    def design(self) -> Design:
        """Its place in the design space."""

    @abstractmethod
    def losses(self, denoiser: "Denoiser", batch: "Noised") -> "Terms":
        """Values per image [B]: `loss`, which is minimised, and the terms it is made of."""

    @property
    def warmup_images(self) -> int:
        """Images at the beginning for which another loss is trained; draws follow no losses until then."""
        return 0

    def warmup_losses(self, denoiser: "Denoiser", batch: "Noised") -> "Terms":
        """Values per image [B] of what the warm-up trains, under the names of `losses`."""
        return self.losses(denoiser, batch)

    def losses_at(self, images_shown: int, denoiser: "Denoiser", batch: "Noised") -> "Terms":
        """`losses`, or the warm-up's, `images_shown` images into the training."""
        if images_shown < self.warmup_images:
            return self.warmup_losses(denoiser, batch)
        return self.losses(denoiser, batch)

    @property
    def beside(self) -> str:
        """What the loss has that the design does not show, in words that follow the kind's name."""
        return ""

    @property
    def no_network(self) -> str:
        """Why no training can start from a head."""
        return f"{self.kind} has no network of its own to start from; use the objective of its start"

    def start_conflicts(self, start: "StartFacts | None") -> Iterator[ConfigConflict]:
        """What keeps a training with this objective from its `start`;
        None where it starts from fresh weights."""
        if start is None:
            return
        if start.objective.is_head:
            yield ("start.objective.kind",), start.objective.no_network
        elif start.named_model and not start.model.accepts_weights_of(start.named_model):
            reason = f"weights of one network do not fit another: {start.model.start_rule}"
            yield ("start.model", "model"), reason
        elif start.objective.design.learned_variance != self.design.learned_variance:
            reason = "one of them learns a variance and has twice as many output channels"
            fields = ("objective.kind", "start.objective.kind")
            yield fields, f"{self.kind} cannot start from {start.objective.kind}: {reason}"
        else:
            yield from self._told_otherwise(start)

    def _told_otherwise(self, start: "StartFacts") -> Iterator[ConfigConflict]:
        """A network that was trained on one chain goes on being told timesteps as it was."""
        before, now = (objective.design.process.told for objective in (start.objective, self))
        if before and now and before != now:
            reason = f"it was told timesteps as {before} and would be told them as {now}"
            yield ("objective.time_scale", "start.objective.time_scale"), f"the network goes on, but {reason}"

    def complete(self, net: "nn.Module", in_channels: int) -> "nn.Module":
        """The network that is trained, made of a backbone for images of `in_channels`:
        the backbone itself."""
        return net

    def added_layers(self, model: ModelBase, shape: NetShape) -> tuple[Layer, ...]:
        """The layers that `complete` adds to a backbone."""
        return ()

    @property
    def head_covariance(self) -> str:
        """The name under which samplers know the covariance that its head gives; empty without a head."""
        return ""

    def variance_model(self) -> "VarianceModel | None":
        """What reads Cov[x0 | x] off the network's output; most networks have nothing of the kind."""
        return None


@dataclass(frozen=True)
class StartFacts:
    """What an objective asks about the training that another one starts from."""

    objective: ObjectiveBase
    """Of the training to start from."""
    named_model: ModelBase | None
    """The network of that training, where `start` names one."""
    model: ModelBase
    """The network that goes on."""


def warmup_words(warmup_kimg: float | None) -> str:
    """What `beside` says of a warm-up; nothing where there is none."""
    return f" after {warmup_kimg:g} kimg of L_simple alone" if warmup_kimg else ""
