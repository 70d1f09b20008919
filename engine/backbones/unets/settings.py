"""The settings that all U-Nets have. Imports no torch."""

from abc import abstractmethod
from typing import Annotated, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from engine.backbones.base import Count, Counts, Ints, ModelBase
from engine.backbones.unets.variant import UNetVariant


class UNetSettings(ModelBase):
    """Levels of halved resolution, each with its own width. `UNetBase` answers what they cost."""

    variant: ClassVar[UNetVariant]
    """What sets the kind apart."""

    channels: int = Field(default=128, ge=1)
    """First-layer channels C; every level has C times its multiplier."""
    channel_mult: Ints = (1, 2, 2, 2)
    """Channel multiplier of each resolution level, from the image size down by halves."""
    num_blocks: Count | Counts = 4
    """Residual blocks a level on the way down (the way up has one more):
    one number, or one for each level."""
    attention_resolutions: Annotated[tuple[int, ...], Field(strict=False)] = (16,)
    """Resolutions, in pixels, whose blocks have self-attention."""

    @field_validator("num_blocks")
    @classmethod
    def _one_form(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        """Equal numbers are written as one, so that equal networks have one identity."""
        return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value

    @model_validator(mode="after")
    def _blocks_fit_levels(self) -> "UNetSettings":
        if isinstance(self.num_blocks, tuple) and len(self.num_blocks) != len(self.channel_mult):
            levels = len(self.channel_mult)
            raise ValueError(
                f"num_blocks {list(self.num_blocks)} must have one number for each of {levels} levels"
            )
        return self

    @abstractmethod
    def heads(self, channels: int) -> int:
        """Attention heads of a block with so many channels."""

    def first_channels(self, width: int) -> int:
        """Channels of the first convolution of a network of this width: as many."""
        return width

    @property
    def blocks(self) -> tuple[int, ...]:
        """Residual blocks of each level on the way down."""
        numbers = self.num_blocks
        return numbers if isinstance(numbers, tuple) else (numbers,) * len(self.channel_mult)

    def for_images_of(self, resolution: int) -> Self:
        """The same network in its one form: attention at the
        levels that images of this size have, in one order."""
        attended = set(self._level_sizes(resolution)) & set(self.attention_resolutions)
        return self.model_copy(update={"attention_resolutions": tuple(sorted(attended, reverse=True))})

    def one_form_reason(self, resolution: int) -> str:
        """Why networks with other attention resolutions are this one."""
        levels = ", ".join(map(str, self._level_sizes(resolution)))
        attended = ", ".join(map(str, self.for_images_of(resolution).attention_resolutions)) or "none"
        return f"images of {resolution} pixels have levels of {levels}: attention acts at {attended} of them"

    def _level_sizes(self, resolution: int) -> list[int]:
        return [resolution >> level for level in range(len(self.channel_mult))]
