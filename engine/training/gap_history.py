"""Noise levels drawn where the network's error is furthest above the least possible one [arXiv 2506.13763].

`LossGapSchedule` says what is drawn and how it weighs; here is the state it needs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.objectives.design import Design
from engine.process.precond import Preconditioning
from engine.process.weighting import target_weight
from engine.training.loss_rings import LossRings

TAIL = 0.01
"""Share of the objective's own draws that lies beyond the bins on either side."""


@dataclass(frozen=True)
class Optimum:
    """The least squared error of x0 per dimension at the
    centre of every bin, and how many dimensions there are."""

    x0: tuple[float, ...]
    num_dims: int


@dataclass(frozen=True)
class Bins:
    """Bins even in ln sigma, from exp(low)."""

    low: float
    width: float
    count: int

    @classmethod
    def of(cls, design: Design, count: int) -> "Bins":
        """Those that hold all but TAIL of the design's own draws on either side."""
        ends = design.noise_levels.sigma(torch.tensor([TAIL, 1 - TAIL], dtype=torch.float64), design.process)
        low, high = ends.log().tolist()
        return cls(low, (high - low) / count, count)

    @property
    def centres(self) -> Tensor:
        """Noise levels [K] in the middles of the bins, float64."""
        return (self.low + self.width * (torch.arange(self.count, dtype=torch.float64) + 0.5)).exp()

    def place(self, sigma: Tensor) -> Tensor:
        """Where noise levels lie, in bins above the lowest edge."""
        return (sigma.log() - self.low) / self.width

    def index(self, sigma: Tensor) -> Tensor:
        """The bin of each noise level, int64; -1 outside all bins."""
        found = self.place(sigma).floor().long()
        return torch.where((found >= 0) & (found < self.count), found, -1)


class GapHistory(LossRings):
    """The last errors of the network's target in each bin of
    noise levels, per dimension, and draws by their gaps.

    `optimum` has one value for each of the design's bins.
    """

    def __init__(self, design: Design, optimum: Optimum, device: torch.device | str) -> None:
        schedule = design.training_schedule.loss_gap
        assert schedule is not None, "only a schedule that follows the gap has a history of gaps"
        self.design = design
        self.schedule = schedule
        self.num_dims = optimum.num_dims
        super().__init__(self.schedule.num_bins, self.schedule.history, device)
        self.bins = Bins.of(design, self.count)
        self.centres = self.bins.centres.to(device)
        self.optimum = self.centres.new_tensor(optimum.x0) / self.c_out(self.centres) ** 2
        """J* of the network's target [K], per dimension."""

    def draw(self, uniform: Tensor) -> Tensor:
        """Noise levels at `uniform` draws: the design's own for its share of them, the others by the gaps.

        All are the design's own until every ring is full, and where no gap is left or one is not finite: that
        loss is reported by the loop.
        """
        gaps = self.weighted_gaps()
        usable = self.full & (gaps.sum() > 0) & gaps.isfinite().all()
        steered = usable & (uniform >= self.schedule.own_share)
        share = torch.where(usable, self.schedule.own_share, 1.0)
        own = self.design.noise_levels.sigma(torch.where(steered, 0.5, uniform / share), self.design.process)
        rest = torch.where(steered, (uniform - self.schedule.own_share) / (1 - self.schedule.own_share), 0.5)
        return torch.where(steered, self.by_gaps(gaps, rest), own)

    def by_gaps(self, gaps: Tensor, uniform: Tensor) -> Tensor:
        """Noise levels of the density over ln sigma that is in
        proportion to `gaps` [K], a constant in every bin."""
        upper = gaps.cumsum(0) / gaps.sum()
        found = torch.searchsorted(upper, uniform, right=True).clamp(max=self.count - 1)
        inside = (upper[found] - uniform) / (gaps[found] / gaps.sum())
        return (self.bins.low + self.bins.width * (found + 1 - inside.clamp(0, 1))).exp()

    def weighted_gaps(self) -> Tensor:
        """w (J - J*)_+ of every bin [K]."""
        return self.target_weight(self.centres) * (self.losses.mean(1) - self.optimum).clamp(min=0)

    def target_weight(self, sigma: Tensor) -> Tensor:
        """w: weight of the squared error of the network's
        target, J* being a straight line between centres."""
        place = (self.bins.place(sigma) - 0.5).clamp(0, self.count - 1)
        below = place.floor().long().clamp(max=self.count - 2)
        tables = torch.stack([self.optimum, self.optimum.cummax(0).values])
        optimum, highest = tables[:, below].lerp(tables[:, below + 1], place - below)
        return self.schedule.weight(sigma, optimum, highest)

    def loss_unit(self, sigma: Tensor) -> Tensor:
        """What the design's loss is where the squared error of the network's target is 1 per dimension."""
        dims = self.num_dims if self.design.pixels == "sum" else 1
        return dims * target_weight(self.design.weighting, sigma, self.c_out(sigma))

    def weight(self, sigma: Tensor) -> Tensor:
        """What turns the design's weighted loss into w times the error of the target."""
        return self.target_weight(sigma) / target_weight(self.design.weighting, sigma, self.c_out(sigma))

    def c_out(self, sigma: Tensor) -> Tensor:
        """Error of x0_hat over the error of the network's target."""
        return Preconditioning(self.design.process, self.design.target, self.design.sigma_data)(sigma).c_out

    def record(self, bins: Tensor, losses: Tensor) -> None:
        """Append errors [B] to the rings of their bins [B], but those at -1."""
        inside = bins >= 0
        super().record(bins[inside], losses[inside])
