"""The networks a recipe may ask for, by their published knobs. Imports no torch."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from engine.config.frozen import Frozen

Ints = Annotated[tuple[int, ...], Field(strict=False, min_length=1)]
Count = Annotated[int, Field(ge=1)]
Counts = Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class ModelBase(Frozen):
    """What every network has."""

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


class UNetBase(ModelBase):
    """What the U-Nets have in common: levels of halved resolution, each with its own width."""

    channels: int = Field(default=128, ge=1)
    """First-layer channels C; every level has C times its multiplier."""
    channel_mult: Ints = (1, 2, 2, 2)
    """Channel multiplier of each resolution level, from the image size down by halves."""
    num_blocks: Count | Counts = 4
    """Residual blocks a level on the way down (the way up has one more): one number, or one for each
    level."""
    attention_resolutions: Annotated[tuple[int, ...], Field(strict=False)] = (16,)
    """Resolutions, in pixels, whose blocks have self-attention."""

    @field_validator("num_blocks")
    @classmethod
    def _one_form(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        """Equal numbers are written as one, so that equal networks have one identity."""
        return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value

    @model_validator(mode="after")
    def _blocks_fit_levels(self) -> "UNetBase":
        if isinstance(self.num_blocks, tuple) and len(self.num_blocks) != len(self.channel_mult):
            levels = len(self.channel_mult)
            raise ValueError(
                f"num_blocks {list(self.num_blocks)} must have one number for each of {levels} levels"
            )
        return self

    @property
    def blocks(self) -> tuple[int, ...]:
        """Residual blocks of each level on the way down."""
        numbers = self.num_blocks
        return numbers if isinstance(numbers, tuple) else (numbers,) * len(self.channel_mult)

    def for_images_of(self, resolution: int) -> Self:
        """The same network in its one form: attention at the levels that images of this size have, in one
        order."""
        levels = {resolution >> level for level in range(len(self.channel_mult))}
        attended = tuple(sorted(levels & set(self.attention_resolutions), reverse=True))
        return self.model_copy(update={"attention_resolutions": attended})


class DdpmPlusPlus(UNetBase):
    """The DDPM++ U-Net as EDM trains it [P3 Table 8; playbook A.5]."""

    kind: Literal["ddpmpp"] = "ddpmpp"
    channel_mult: Ints = (2, 2, 2)
    """Channel multiplier of each resolution level; (2, 2, 2) is EDM's, (1, 2, 2, 2) the original with a 4x4
    level."""
    dropout: Probability = 0.13
    """Dropout probability inside residual blocks."""


class NcsnPlusPlus(UNetBase):
    """The NCSN++ U-Net as EDM trains it: Fourier noise features, smooth resampling, a residual encoder [P3
    Table 8]."""

    kind: Literal["ncsnpp"] = "ncsnpp"
    channel_mult: Ints = (2, 2, 2)
    """Channel multiplier of each resolution level, from the image size down by halves."""
    dropout: Probability = 0.13
    """Dropout probability inside residual blocks."""


class Adm(UNetBase):
    """The ADM U-Net as EDM trains it on ImageNet-64 [P3 Table 8; playbook A.5]."""

    kind: Literal["adm"] = "adm"
    channels: int = Field(default=192, ge=1)
    """First-layer channels C; every level has C times its multiplier."""
    channel_mult: Ints = (1, 2, 3, 4)
    """Channel multiplier of each resolution level, from the image size down by halves."""
    num_blocks: Count | Counts = 3
    """Residual blocks a level on the way down (the way up has one more): one number, or one for each
    level."""
    attention_resolutions: Annotated[tuple[int, ...], Field(strict=False)] = (32, 16, 8)
    """Resolutions, in pixels, whose blocks have self-attention."""
    head_channels: int = Field(default=64, ge=1)
    """Channels of an attention head: ImageNet-64's levels have 6, 9 and 12 heads."""
    dropout: Probability = 0.1
    """Dropout probability inside residual blocks."""


class UNet(UNetBase):
    """The iDDPM U-Net: scale-shift conditioning, multi-head attention [P1 p11; playbook 2.0-2.3]."""

    kind: Literal["unet"] = "unet"
    channel_mult: Ints = (1, 2, 3, 4)
    """Channel multiplier of each resolution level, from the image size down by halves."""
    num_blocks: Count | Counts = 3
    """Residual blocks a level on the way down (the way up has one more): one number, or one for each
    level."""
    attention_resolutions: Annotated[tuple[int, ...], Field(strict=False)] = (16, 8)
    """Resolutions, in pixels, whose blocks have self-attention."""
    num_heads: int = Field(default=4, ge=1)
    """Attention heads; the channels are divided among them."""


class TransformerBase(ModelBase):
    """What DiT and DyDiT have in common; depth, heads and width make a size of Table 7 [P5; playbook 2.6*,
    A.1]."""

    depth: int = Field(default=12, ge=1)
    """Transformer blocks."""
    width: int = Field(default=384, ge=1)
    """Features of a token."""
    num_heads: int = Field(default=6, ge=1)
    """Attention heads; the width is divided among them. DyDiT divides the MLP into as many groups."""
    patch_size: int = Field(default=2, ge=1)
    """Pixels, or latent positions, a side of the square that becomes a token."""


class Dit(TransformerBase):
    """DiT: a transformer over patches, conditioned by adaLN-Zero [Peebles & Xie 2023; P5 Table 7; playbook
    A.1]."""

    kind: Literal["dit"] = "dit"


Route = Literal["heads", "groups", "tokens"]


class DyDit(TransformerBase):
    """DyDiT: a DiT that skips heads, MLP groups and tokens to meet a budget of FLOPs [P5; playbook 2.6, 3.5,
    4.4]."""

    kind: Literal["dydit"] = "dydit"
    routes: Annotated[tuple[Route, ...], Field(strict=False, min_length=1)] = ("heads", "groups", "tokens")
    """What may be skipped: heads and MLP groups by noise level, the MLP of single tokens."""
    flops_ratio: float = Field(default=0.5, gt=0, le=1)
    """Budget: FLOPs of attention and MLPs as a fraction of the static DiT's (P5's lambda)."""
    flops_weight: float = Field(default=2.0, gt=0)
    """Weight of (ratio - budget)^2 in the loss."""
    dense_kimg: float = Field(default=25.6, ge=0)
    """How long the budget stays at 1 at first (100 steps of 256 images)."""
    ramp_kimg: float = Field(default=256.0, ge=0)
    """How long it then takes to fall to `flops_ratio`, linearly (1,000 steps of 256 images)."""
    complete_kimg: float = Field(default=0.0, ge=0)
    """Warm-up during which the complete network is trained too (L_complete); P5's XL uses 30,000 steps."""

    @field_validator("routes")
    @classmethod
    def _one_order(cls, value: tuple[Route, ...]) -> tuple[Route, ...]:
        """Each once and in one order, so that equal networks have one identity."""
        return tuple(route for route in get_args(Route) if route in value)

    @property
    def static(self) -> Dit:
        """The DiT of the same size."""
        return Dit(**{name: getattr(self, name) for name in Dit.model_fields if name != "kind"})


class Mlp(ModelBase):
    """A multilayer perceptron over flattened images, for points in the plane and other toys [companion text
    004]."""

    kind: Literal["mlp"] = "mlp"
    width: int = Field(default=128, ge=1)
    """Features of a hidden layer."""
    depth: int = Field(default=4, ge=1)
    """Residual blocks."""


UNets = DdpmPlusPlus | NcsnPlusPlus | Adm | UNet
"""The networks that a `Layout` describes."""

Transformers = Dit | DyDit
"""The networks over patches."""

Model = Annotated[DdpmPlusPlus | NcsnPlusPlus | Adm | UNet | Dit | DyDit | Mlp, Field(discriminator="kind")]
"""Any network, told apart by its `kind`."""
