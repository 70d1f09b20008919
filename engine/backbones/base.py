"""What every backbone's configuration has, and the questions that others ask it. Imports no torch.

A new kind must say how it is built. Everything else has a plain answer here, which a kind overrides where it
knows better: what it costs, what it keeps in memory, what it is called, what it goes with.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field

from engine.backbones.cost import Cost, Layer, sum_of
from engine.backbones.linked_rules import LinkedRule
from engine.backbones.shape import NetShape
from engine.conflicts import ConfigConflict
from engine.frozen import Frozen
from engine.kinds import LAST

if TYPE_CHECKING:
    from torch import Tensor, nn

FP32 = 4
"""Bytes of a number in single precision."""

HALF = 2
"""Bytes of a number in bf16 or fp16."""

DROPOUT_LEVELS = (0.05, 0.1, 0.13, 0.2, 0.25, 0.3)
"""iDDPM's CIFAR-10 grid and EDM's final values [P1 p11, P3 Table 7; playbook 4.5]."""

Ints = Annotated[tuple[int, ...], Field(strict=False, min_length=1)]
Count = Annotated[int, Field(ge=1)]
Counts = Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class Published:
    """A published network, with the images it was published for."""

    name: str
    model: "ModelBase"
    shape: NetShape
    millions: float | None
    """Parameters, in millions, of this network for these images; None where nobody gives a number."""
    source: str
    note: str = ""


class ModelBase(Frozen):
    """What every network has, and what it answers. A kind adds a field `kind` with its name and its knobs."""

    if TYPE_CHECKING:
        # Declared by each kind as a Literal with a default; a field here would come before all others.
        kind: str

    position: ClassVar[int] = LAST
    """Place among the kinds in messages and in the schema."""
    levels: ClassVar[Mapping[str, tuple[float, ...]]] = {"dropout": DROPOUT_LEVELS}
    """Playbook levels of its fields: values a sweep may
    give them without being marked as off the playbook."""
    knob_groups: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Knob group -> own fields that a sweep of this group may vary;
    those of `KNOB_GROUPS` need no mention."""
    linked_rules: ClassVar[Mapping[str, LinkedRule]] = {}
    """Rules for hyper-parameters that follow this network's
    settings, which a grid's `linked:` block may name."""
    not_named: ClassVar[frozenset[str]] = frozenset({"dropout", "class_conditional", "label_dropout"})
    """Settings that leave a network its published name."""
    execution_settings: ClassVar[frozenset[str]] = frozenset()
    """Settings that say how much of the network is executed;
    whatever their values, it is the same network."""
    packs_steps: ClassVar[bool] = True
    """Images of one batch may be at different noise levels, so that several steps share a batch."""
    has_head_features: ClassVar[bool] = False
    """The network offers the last features before its output, which OCM's head reads."""
    executes_part: ClassVar[bool] = False
    """In evaluation the network decides what to execute:
    `watch_executed` and `executed_cost` then say how much."""
    extra_loss: ClassVar[str] = ""
    """What `losses` adds that says nothing of the noise level, in words for messages; nothing for most."""

    start_rule: ClassVar[str] = (
        "only the dropout, and a DyDiT's budget, may be changed; a DyDiT also starts from the DiT of its size"
    )
    """Which weights fit, in words for a message about those that do not."""

    dropout: Probability = 0.0
    """Dropout probability inside residual blocks."""
    class_conditional: bool = False
    """Feed the class label to the network."""
    label_dropout: Probability = 0.0
    """How often training hides the label, so that samples can be guided [companion text 004]."""
    width_divisor: int = Field(default=1, ge=1)
    """Divide every width by this. For smoke runs only: results say nothing about the published size."""

    @property
    def has_null_label(self) -> bool:
        """Whether the network also learns without labels, which label -1 stands for."""
        return self.class_conditional and self.label_dropout > 0

    @abstractmethod
    def build(self, shape: NetShape) -> "nn.Module":
        """The network, with fresh weights from torch's global generator.

        It maps images [B, in_channels, resolution, resolution], c_noise [B], labels [B] or None,
        and augmentation labels [B, augment_labels] or None to [B, out_channels, resolution,
        resolution]. Raises ValueError when the configuration does not fit the shape.
        """

    def for_images_of(self, resolution: int) -> Self:
        """The one form of all configurations that are the
        same network for images of so many pixels a side."""
        return self

    def one_form_reason(self, resolution: int) -> str:
        """Why other configurations are the same network as this one, in words; asked of kinds whose
        `for_images_of` says that they are."""
        return "these settings make the same network"

    def head_feature_channels(self, shape: NetShape) -> int:
        """Channels of the features that a head reads. Raises TypeError where there are none."""
        raise TypeError(f"{self.kind} has no features for a head")

    def head_embedding_width(self, shape: NetShape) -> int:
        """Features of the embedding of noise level and class that a head may read.
        Raises TypeError where there are none."""
        raise TypeError(f"{self.kind} has no embedding for a head")

    def layers(self, shape: NetShape) -> tuple[Layer, ...] | None:
        """Its layers in the order in which an image passes them; None where nobody counted them.

        Raises ValueError when the configuration does not fit the shape.
        """
        return None

    def executed_cost(self, shape: NetShape, ratio: float) -> Cost | None:
        """What is executed at the share `ratio` of what the network may skip; None where nobody counted."""
        return self._whole_cost(shape)

    def budget_cost(self, shape: NetShape) -> Cost | None:
        """What is executed while sampling, on average: less than everything for a network that skips;
        None where nobody counted."""
        return self._whole_cost(shape)

    def _whole_cost(self, shape: NetShape) -> Cost | None:
        layers = self.layers(shape)
        return None if layers is None else sum_of(layer.cost for layer in layers)

    @property
    def budget_ratio(self) -> float | None:
        """The share of `skippable_cost` that it is trained to execute;
        None for a network that skips nothing."""
        return None

    def skippable_cost(self, shape: NetShape) -> Cost | None:
        """What it may skip; None for a network that skips nothing."""
        return None

    def extra_training_kimg(self, total_kimg: float) -> float:
        """Thousands of images that a training of `total_kimg`
        shows a second time, to a loss of the network's own."""
        return 0.0

    def activation_bytes(self, shape: NetShape, width: int = FP32) -> int | None:
        """Bytes that autograd keeps of one forward pass, for each image of a batch;
        None where nobody counted.

        `width` is the bytes of a number inside the layers: 4 in fp32, 2 in mixed precision.
        Every convolution, activation and norm keeps its input, a sum keeps nothing; a tensor
        that two of them keep counts once. Left out are the norms' means and the embeddings
        of labels. Raises ValueError when the configuration does not fit the shape.
        """
        return None

    def checkpointed_bytes(self, shape: NetShape, width: int = FP32) -> int | None:
        """The same with gradient checkpointing: every block's input, and the inside of one block.

        The backward pass computes the insides again, one at a time; the largest counts.
        """
        return None

    def training_bytes(self, shape: NetShape, width: int, *, checkpointing: bool) -> int | None:
        """Bytes that a training step keeps for each image, all of its forward passes together."""
        return self.checkpointed_bytes(shape, width) if checkpointing else self.activation_bytes(shape, width)

    def default_start(self) -> "ModelBase":
        """The network whose finished training this one starts from where a `start` names none: the same."""
        return self

    def accepts_weights_of(self, other: "ModelBase") -> bool:
        """Whether the network can go on from another's weights. Dropout has none."""
        return other.model_copy(update={"dropout": self.dropout}) == self

    def schedule_conflicts(self, schedule: str) -> Iterator[ConfigConflict]:
        """What speaks against a training schedule:
        one that follows the loss weighs everything in it, also what says nothing of the noise level."""
        if self.extra_loss and schedule == "loss_gap":
            reason = (
                f"its weights would act on {self.extra_loss} too, "
                "which says nothing of the noise level; use fixed"
            )
            yield ("objective.training_schedule.kind", "model.kind"), f"loss_gap: {reason}"

    def losses(
        self,
        diffusion: "Callable[[], dict[str, Tensor]]",
        net: "nn.Module",
        *,
        images_shown: int,
        pixels: int,
    ) -> "dict[str, Tensor]":
        """Values per image [B] of one batch: those of `diffusion`,
        which evaluates `net`, and the network's own.

        `loss` is minimised. `pixels` is 1 for a loss that is a mean over pixels, and their number for a sum.
        """
        return diffusion()

    def watch_executed(self, net: "nn.Module") -> "AbstractContextManager[list[Tensor]]":
        """Collect what each pass of `net` executes of what it may skip:
        one tensor [B] a pass, without gradient.

        Raises TypeError for a network that always executes everything.
        """
        raise TypeError(f"{self.kind} executes everything")

    @classmethod
    def published_networks(cls) -> tuple[Published, ...]:
        """The published networks of this kind."""
        return ()

    @property
    def reference_width(self) -> int | None:
        """The width that a learning rate scales with (`lr_from_channels`): a U-Net's channels;
        None without one."""
        return None

    @property
    def published_size(self) -> str | None:
        """The name of the size whose published fine-tuning applies to it, such as XL; None without one."""
        return None
