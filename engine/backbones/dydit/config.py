"""The configuration of DyDiT [P5; playbook 2.6, 3.5, 4.4]. Imports no torch."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, get_args

from pydantic import Field, field_validator

from engine.backbones.base import FP32, ModelBase, Published
from engine.backbones.cost import Cost, Layer, sum_of
from engine.backbones.dit.activations import dit_activations, dit_checkpointed
from engine.backbones.dit.config import Dit
from engine.backbones.dit.cost import skippable_cost
from engine.backbones.dit.layout import dit_layout
from engine.backbones.dit.settings import DIT_SIZES, TransformerSettings
from engine.backbones.dydit.cost import choice_bytes, dydit_layers
from engine.backbones.dydit.fine_tuning import FINE_TUNING_RULES
from engine.backbones.dydit.routes import Route
from engine.backbones.linked_rules import LinkedRule
from engine.backbones.shape import LATENTS, NetShape

if TYPE_CHECKING:
    from torch import Tensor, nn

BUDGETS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""P5's budgets [P5 Table 6; playbook A.2]."""

Ramp = Literal["after_dense", "released"]
"""What the fall of the budget is counted from: the end of the dense part, or the first step [P5, code]."""

SIZES = ("S", "B", "XL")
"""DiT's sizes that P5 makes dynamic."""
BUDGET_KNOBS = (
    "flops_ratio",
    "flops_weight",
    "routes",
    "ramp",
    "dense_kimg",
    "ramp_kimg",
    "complete_kimg",
)
"""What a sweep of the knob group `budget` may vary."""


class DyDit(TransformerSettings):
    """DyDiT: a DiT that skips heads, MLP groups and tokens to
    meet a budget of FLOPs [P5; playbook 2.6, 3.5, 4.4]."""

    position: ClassVar[int] = 6
    levels: ClassVar[Mapping[str, tuple[float, ...]]] = {**TransformerSettings.levels, "flops_ratio": BUDGETS}
    knob_groups: ClassVar[Mapping[str, tuple[str, ...]]] = {"budget": BUDGET_KNOBS}
    linked_rules: ClassVar[Mapping[str, LinkedRule]] = FINE_TUNING_RULES
    execution_settings: ClassVar[frozenset[str]] = frozenset({"flops_ratio"})
    # Of the budget's knobs the routes alone make layers.
    not_named: ClassVar[frozenset[str]] = TransformerSettings.not_named | (
        frozenset(BUDGET_KNOBS) - {"routes"}
    )
    # It skips what all images of a batch agree to skip, as they do at one noise level.
    packs_steps: ClassVar[bool] = False
    executes_part: ClassVar[bool] = True
    extra_loss: ClassVar[str] = "DyDiT's budget"

    kind: Literal["dydit"] = "dydit"
    routes: Annotated[tuple[Route, ...], Field(strict=False, min_length=1)] = ("heads", "groups", "tokens")
    """What may be skipped: heads and MLP groups by noise level, the MLP of single tokens."""
    flops_ratio: float = Field(default=0.5, gt=0, le=1)
    """Budget: FLOPs of attention and MLPs as a fraction of the static DiT's (P5's lambda)."""
    flops_weight: float = Field(default=2.0, gt=0)
    """Weight of (ratio - budget)^2 in the loss."""
    ramp: Ramp = "after_dense"
    """Where the budget's linear fall is counted from. after_dense: from the
    end of `dense_kimg`, where it is still 1; released: from the first step,
    as P5's code does, so that it drops at once when `dense_kimg` is over."""
    dense_kimg: float = Field(default=25.6, ge=0)
    """How long the budget stays at 1 at first (100 steps of 256 images)."""
    ramp_kimg: float = Field(default=256.0, ge=0)
    """How long it takes to fall to `flops_ratio`, linearly (1,000
    steps of 256 images; 5,000 in P5's code at a budget of 0.7)."""
    complete_kimg: float = Field(default=0.0, ge=0)
    """Warm-up during which the complete network is trained too (L_complete). P5's XL: 30,000 steps;
    at a budget of 0.7 its code keeps it for all 150,000."""

    @field_validator("routes")
    @classmethod
    def _one_order(cls, value: tuple[Route, ...]) -> tuple[Route, ...]:
        """Each once and in one order, so that equal networks have one identity."""
        return tuple(route for route in get_args(Route) if route in value)

    @property
    def static(self) -> Dit:
        """The DiT of the same size."""
        return Dit(**{name: getattr(self, name) for name in Dit.model_fields if name != "kind"})

    def build(self, shape: NetShape) -> "nn.Module":
        """The network with fresh weights."""
        from engine.backbones.dydit.network import DyDitNet

        return DyDitNet(self, shape)

    def layers(self, shape: NetShape) -> tuple[Layer, ...]:
        """The layers of a DyDiT that skips nothing. Raises ValueError as `dit_layout` does."""
        return tuple(dydit_layers(self, self.routes, shape))

    @property
    def budget_ratio(self) -> float:
        """`flops_ratio`, of attention and MLPs."""
        return self.flops_ratio

    def skippable_cost(self, shape: NetShape) -> Cost:
        """Attention and MLPs of all blocks, which are what it may skip."""
        return skippable_cost(dit_layout(self, shape))

    def executed_cost(self, shape: NetShape, ratio: float) -> Cost:
        """It executes the share `ratio` of its attention and MLPs; routers and everything else always run."""
        whole = sum_of(layer.cost for layer in self.layers(shape))
        return Cost(whole.params, whole.macs - round((1 - ratio) * self.skippable_cost(shape).macs))

    def budget_cost(self, shape: NetShape) -> Cost:
        """It meets its budget, `flops_ratio`."""
        return self.executed_cost(shape, self.flops_ratio)

    def extra_training_kimg(self, total_kimg: float) -> float:
        """The warm-up with L_complete, in which the complete network goes through every image too."""
        return min(self.complete_kimg, total_kimg)

    def activation_bytes(self, shape: NetShape, width: int = FP32) -> int:
        """Bytes kept of one forward pass of training, which multiplies by its choices."""
        return dit_activations(self, shape, width, choice_bytes(self.routes, dit_layout(self, shape), width))

    def checkpointed_bytes(self, shape: NetShape, width: int = FP32) -> int:
        """Bytes kept for each image where only the blocks' inputs are."""
        return dit_checkpointed(self, shape, width, choice_bytes(self.routes, dit_layout(self, shape), width))

    def training_bytes(self, shape: NetShape, width: int, *, checkpointing: bool) -> int:
        """In the warm-up those of two passes: the complete network's too."""
        passes: list[Dit | DyDit] = [self, self.static] if self.complete_kimg > 0 else [self]
        count = [
            one.checkpointed_bytes(shape, width) if checkpointing else one.activation_bytes(shape, width)
            for one in passes
        ]
        return sum(count)

    def default_start(self) -> ModelBase:
        """The DiT of its size."""
        return self.static

    def accepts_weights_of(self, other: ModelBase) -> bool:
        """Its own, whatever the budget, where the routes are the same;
        and a DiT's, to which it adds its routers."""
        if isinstance(other, DyDit):
            return other.routes == self.routes and self.static.accepts_weights_of(other.static)
        return self.static.accepts_weights_of(other)

    def losses(
        self,
        diffusion: "Callable[[], dict[str, Tensor]]",
        net: "nn.Module",
        *,
        images_shown: int,
        pixels: int,
    ) -> "dict[str, Tensor]":
        """The budget on top of the diffusion loss, and in the warm-up the complete network's loss."""
        from engine.backbones.dydit.budget import budget_losses

        return budget_losses(self, diffusion, net, images_shown, pixels)

    def watch_executed(self, net: "nn.Module") -> "AbstractContextManager[list[Tensor]]":
        """Shares of attention's and the MLPs' FLOPs."""
        from engine.backbones.dydit.network import watch_ratio

        return watch_ratio(net)

    @classmethod
    def published_networks(cls) -> tuple[Published, ...]:
        """P5's sizes, on DiT's latents. Nobody gives their parameters."""
        found = []
        for size in SIZES:
            depth, width, num_heads = DIT_SIZES[size]
            model = cls(
                depth=depth, width=width, num_heads=num_heads, class_conditional=True, label_dropout=0.1
            )
            source = "P5 Table 7; playbook 2.6, A.1a"
            found.append(Published(f"DyDiT-{size}/2", model, LATENTS, None, source))
        return tuple(found)

    @property
    def published_size(self) -> str | None:
        """S, B or XL, by depth, width and heads."""
        for size in SIZES:
            if DIT_SIZES[size] == (self.depth, self.width, self.num_heads):
                return size
        return None
