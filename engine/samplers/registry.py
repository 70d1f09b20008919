"""The one list of samplers: those of this folder, and those of installed packages (`orch.samplers`)."""

from typing import TYPE_CHECKING

from engine.kinds import Kinds, built_in
from engine.samplers.base import SamplerBase

SAMPLERS: Kinds[type[SamplerBase]] = Kinds(
    "sampler", built_in("engine.samplers", SamplerBase), group="orch.samplers", base=SamplerBase
)
"""Every sampler's class by its `kind`."""

if TYPE_CHECKING:
    Sampler = SamplerBase
else:
    Sampler = SAMPLERS.union()
"""A field's type: any sampler, told apart by its `kind`."""
