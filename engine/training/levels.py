"""Which noise levels a batch is shown: draws keyed by
position, stratified or weighed by a history of losses."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.objectives.design import Design
from engine.training.gap_history import GapHistory, Optimum
from engine.training.loss_rings import LossRings


@dataclass(frozen=True)
class Levels:
    """What each image of a batch is shown."""

    sigma: Tensor
    """Noise levels [B], float64."""
    weight: Tensor
    """Factor of the loss and of its terms [B], float64. A history of losses leaves their mean that of the
    design's own draws; a history of gaps is meant to change it."""
    bin: Tensor | None = None
    """Timesteps, or bins of noise levels, [B], int64, to be recorded with their losses;
    None without a history."""
    loss_unit: Tensor | None = None
    """What losses [B] are divided by to be recorded, float64; None: nothing."""


class LevelDrawer:
    """Draws a design's noise levels for batches of `batch_size` images;
    keeps the history where draws depend on one.

    `optimum` is what a schedule that follows the gap needs. Raises ValueError when it is missing, and for a
    history of losses over a process that has no timesteps.
    """

    def __init__(
        self,
        design: Design,
        batch_size: int,
        device: torch.device | str = "cpu",
        optimum: Optimum | None = None,
    ) -> None:
        self.noise_levels = design.noise_levels
        self.process = design.process
        self.batch_size = batch_size
        self.history: LossHistory | GapHistory | None = None
        importance = design.noise_levels.importance
        if design.training_schedule.loss_gap is not None:
            if optimum is None:
                raise ValueError("training_schedule loss_gap needs the optimal loss of the training images")
            self.history = GapHistory(design, optimum, device)
        elif importance is not None:
            if not design.process.discrete:
                raise ValueError(f"noise_levels {design.noise_levels.kind} needs a discrete process")
            num_timesteps = len(design.process.sigmas)
            self.history = LossHistory(num_timesteps, importance.history, importance.uniform_share, device)

    def draw(self, uniform: Tensor, positions: Tensor, by_history: bool = True) -> Levels:
        """Levels at `uniform` draws in (0, 1) [B], float64, of
        the images at `positions` [B] of the training stream.

        Keyed by position, so any part of a batch gets what the whole batch would give it.
        Without `by_history` they are the design's own draws, not to be recorded.
        """
        place = positions.to(uniform.device) % self.batch_size
        if self.noise_levels.stratified:
            uniform = (place + uniform) / self.batch_size
        elif self.noise_levels.strata > 1:
            # Strata take turns from image to image, so that every part of a batch that goes through the network
            # at once has all of them: DyDiT's budget is met on the mean of a pass.
            strata = self.noise_levels.strata
            uniform = (place % strata + uniform) / strata
        if self.history is None or not by_history:
            return Levels(self.noise_levels.sigma(uniform, self.process), torch.ones_like(uniform))
        if isinstance(self.history, GapHistory):
            sigma = self.history.draw(uniform)
            found = self.history.bins.index(sigma)
            return Levels(sigma, self.history.weight(sigma), found, self.history.loss_unit(sigma))
        timestep, weight = self.history.draw(uniform)
        return Levels(uniform.new_tensor(self.process.sigmas)[timestep], weight, timestep)

    def record(self, bins: Tensor, losses: Tensor) -> None:
        """Remember a whole batch's losses [B], not weighted and in their units, in its bins [B].

        Once a step, in the order of positions; only for a design whose `draw` gives bins.
        """
        assert self.history is not None
        self.history.record(bins, losses)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold; empty without a history."""
        return {} if self.history is None else {"losses": self.history.losses, "seen": self.history.seen}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `tensors` of an equal drawer."""
        if self.history is not None:
            self.history.losses.copy_(tensors["losses"])
            self.history.seen.copy_(tensors["seen"])


class LossHistory(LossRings):
    """The last `length` losses of each timestep, and importance
    sampling by them [P1 3.3, code; playbook 3.3].

    p_t = (1 - uniform_share) r_t / sum(r) + uniform_share
    / T, with r_t the root mean square of the losses at t.
    """

    def __init__(
        self, num_timesteps: int, length: int, uniform_share: float, device: torch.device | str
    ) -> None:
        super().__init__(num_timesteps, length, device)
        self.num_timesteps = num_timesteps
        self.uniform_share = uniform_share

    def probabilities(self) -> Tensor:
        """p_t [T], float64: uniform until every timestep has `length` losses."""
        root = self.losses.square().mean(1).sqrt()
        mixed = (1 - self.uniform_share) * root / root.sum() + self.uniform_share / self.num_timesteps
        return torch.where(self.full, mixed, torch.full_like(mixed, 1 / self.num_timesteps))

    def draw(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Timesteps at `uniform` draws by the inverse of the
        cumulative distribution, and their 1 / (T p_t)."""
        probabilities = self.probabilities()
        cumulative = probabilities.cumsum(0)
        timestep = torch.searchsorted(cumulative / cumulative[-1], uniform, right=True)
        # Probabilities that are not numbers give T, no timestep;
        # the loss that made them is reported by the loop.
        timestep = timestep.clamp(max=self.num_timesteps - 1)
        return timestep, 1 / (self.num_timesteps * probabilities[timestep])
