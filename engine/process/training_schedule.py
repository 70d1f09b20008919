"""Training schedules: which noise levels are shown and how
their errors weigh, fixed or steered by the loss itself."""

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from engine.frozen import Frozen
from engine.kinds import Kinds

if TYPE_CHECKING:
    from torch import Tensor


class TrainingScheduleBase(Frozen):
    """How long an objective's own noise levels and weighting are kept."""

    if TYPE_CHECKING:

        @property
        def kind(self) -> str:
            """The name in grids."""

    @property
    def loss_gap(self) -> "LossGapSchedule | None":
        """How the gap between the loss and its optimum steers training; None where it does not."""
        return None


class FixedSchedule(TrainingScheduleBase):
    """The objective's own distribution of noise levels and
    its own weighting, from the first step to the last."""

    kind: Literal["fixed"] = "fixed"


class LossGapSchedule(TrainingScheduleBase):
    """Show noise levels where the network is furthest above the optimum [Xu et al. 2025, arXiv 2506.13763].

    J(sigma) is the network's mean squared error of its own target per
    dimension, J*(sigma) the least possible one on the training images. The loss
    of an image is w(sigma) times its squared error, at sigma drawn from p:

        w(sigma) = a min(1 / J*, w_max) + N(ln sigma; mean, std^2) g(sigma)
        p(ln sigma) ~ w (J - J*)_+, a constant within each bin of ln sigma

    w brings the losses of all levels to one size, p spends the images where something is left to learn. So
    the loss is not divided by p, as importance sampling would: a level counts in proportion to p w.

    What the paper leaves open is chosen here. J is measured on the network's target, since in the space of x0
    every loss vanishes as sigma^2 at low noise and N would weigh nothing beside 1 / J*. sigma*, below which
    the paper adds N, is the lowest level at which J* reaches 1 / w_max. There the paper's g jumps from 1 to
    0; `continuous` has it fade as 1 - w_max J* instead. The values of a, w_max, mean and std are not the
    paper's: mean and std are EDM's.

    p lives on bins even in ln sigma that hold all but 1 % at either end of the objective's own draws. Those
    are used alone until every bin has its history, and for `own_share` of the draws ever after; w holds from
    the first step. J* is that of the images as they are, class by class for a class-conditional network,
    mirrored ones counted; it knows neither `data.augment`, which raises the true optimum, nor hidden labels.
    """

    kind: Literal["loss_gap"] = "loss_gap"
    a: float = Field(default=0.3, gt=0)
    """Weight of the first term; only its size beside N, at most 0.4 / std, matters much."""
    w_max: float = Field(default=3.0, gt=0)
    """Largest 1 / J*."""
    mean: float = -1.2
    """Mean of ln(sigma) in N."""
    std: float = Field(default=1.2, gt=0)
    """Standard deviation of ln(sigma) in N."""
    continuous: bool = True
    """Let N fade out towards sigma*; false: let it end there, as published."""
    num_bins: int = Field(default=24, ge=2)
    """Bins of ln(sigma)."""
    history: int = Field(default=32, ge=1)
    """Errors remembered in each bin, whose mean is J."""
    own_share: float = Field(default=0.1, gt=0, le=1)
    """Part of the draws that the objective's own distribution keeps, so that no level is forgotten."""

    @property
    def loss_gap(self) -> "LossGapSchedule":
        """Itself."""
        return self

    def weight(self, sigma: "Tensor", optimum: "Tensor", highest: "Tensor") -> "Tensor":
        """w at noise levels `sigma`, of the target's J* there and the highest J* at or below;
        all of one shape."""
        fading = 1 - self.w_max * highest
        g = fading.clamp(min=0) if self.continuous else (fading > 0).to(fading.dtype)
        z = (sigma.log() - self.mean) / self.std
        normal = (-0.5 * z**2).exp() / (self.std * math.sqrt(2 * math.pi))
        return self.a * (1 / optimum).clamp(max=self.w_max) + normal * g


TRAINING_SCHEDULES: Kinds[type[TrainingScheduleBase]] = Kinds(
    "training schedule", (FixedSchedule, LossGapSchedule)
)
"""Every training schedule's class by its `kind`."""

if TYPE_CHECKING:
    TrainingSchedule = TrainingScheduleBase
else:
    TrainingSchedule = TRAINING_SCHEDULES.union()
"""A field's type: any training schedule, told apart by its `kind`."""
