"""Which noise levels a batch is shown: draws keyed by position, stratified or weighed by a history of losses."""

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.objective_spec import Design
from engine.process.noise_levels import LossSecondMoment
from engine.process.processes import DiscreteProcess


@dataclass(frozen=True)
class Levels:
    """What each image of a batch is shown."""

    sigma: Tensor
    """Noise levels [B], float64."""
    weight: Tensor
    """Factor of the loss and of its terms [B], float64, under which their mean is that of the design's own draws."""
    timestep: Tensor | None
    """Timesteps [B], int64, to be recorded with their losses; None where no history is kept."""


class LevelDrawer:
    """Draws a design's noise levels for batches of `batch_size` images; keeps the history where draws depend on one.

    Raises ValueError for a history over a process that has no timesteps.
    """

    def __init__(self, design: Design, batch_size: int, device: torch.device | str = "cpu") -> None:
        self.noise_levels, self.process, self.batch_size = design.noise_levels, design.process, batch_size
        self.history: LossHistory | None = None
        if isinstance(design.noise_levels, LossSecondMoment):
            if not isinstance(design.process, DiscreteProcess):
                raise ValueError("noise_levels loss_second_moment needs a discrete process")
            levels = design.noise_levels
            self.history = LossHistory(design.process.num_timesteps, levels.history, levels.uniform_share, device)

    def draw(self, uniform: Tensor, positions: Tensor) -> Levels:
        """Levels at `uniform` draws in (0, 1) [B], float64, of the images at `positions` [B] of the training stream.

        Keyed by position, so any part of a batch gets what the whole batch would give it.
        """
        if self.noise_levels.stratified:
            uniform = (positions.to(uniform.device) % self.batch_size + uniform) / self.batch_size
        if self.history is None:
            return Levels(self.noise_levels.sigma(uniform, self.process), torch.ones_like(uniform), None)
        assert isinstance(self.process, DiscreteProcess)
        timestep, weight = self.history.draw(uniform)
        return Levels(uniform.new_tensor(self.process.sigmas)[timestep], weight, timestep)

    def record(self, timestep: Tensor, losses: Tensor) -> None:
        """Remember a whole batch's losses [B], not weighted, at its timesteps; once a step, in the order of positions.

        Only for a design whose `draw` gives timesteps.
        """
        assert self.history is not None
        self.history.record(timestep, losses)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold; empty without a history."""
        return {} if self.history is None else {"losses": self.history.losses, "seen": self.history.seen}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `tensors` of an equal drawer."""
        if self.history is not None:
            self.history.losses.copy_(tensors["losses"])
            self.history.seen.copy_(tensors["seen"])


class LossHistory:
    """The last `length` losses of each timestep, and importance sampling by them [P1 3.3, code; playbook 3.3].

    p_t = (1 - uniform_share) r_t / sum(r) + uniform_share / T, with r_t the root mean square of the losses at t.
    """

    def __init__(self, num_timesteps: int, length: int, uniform_share: float, device: torch.device | str) -> None:
        self.num_timesteps, self.length, self.uniform_share = num_timesteps, length, uniform_share
        self.losses = torch.zeros(num_timesteps, length, dtype=torch.float64, device=device)
        """A ring for each timestep: its n-th loss lies at n % length."""
        self.seen = torch.zeros(num_timesteps, dtype=torch.int64, device=device)
        """Losses recorded so far at each timestep."""

    def probabilities(self) -> Tensor:
        """p_t [T], float64: uniform until every timestep has `length` losses."""
        root = self.losses.square().mean(1).sqrt()
        mixed = (1 - self.uniform_share) * root / root.sum() + self.uniform_share / self.num_timesteps
        full = (self.seen >= self.length).all()
        return torch.where(full, mixed, torch.full_like(mixed, 1 / self.num_timesteps))

    def draw(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Timesteps at `uniform` draws by the inverse of the cumulative distribution, and their 1 / (T p_t)."""
        probabilities = self.probabilities()
        cumulative = probabilities.cumsum(0)
        timestep = torch.searchsorted(cumulative / cumulative[-1], uniform, right=True)
        # Probabilities that are not numbers give T, no timestep; the loss that made them is reported by the loop.
        timestep = timestep.clamp(max=self.num_timesteps - 1)
        return timestep, 1 / (self.num_timesteps * probabilities[timestep])

    def record(self, timestep: Tensor, losses: Tensor) -> None:
        """Append losses [B] to the rings of their timesteps [B], in order; of too many at one, the last stay."""
        order = timestep.argsort(stable=True)
        grouped = timestep[order]
        start, end = torch.searchsorted(grouped, grouped), torch.searchsorted(grouped, grouped, right=True)
        rank = torch.arange(len(grouped), device=grouped.device) - start
        slot = (self.seen[grouped] + rank) % self.length
        # Two writes to one slot would have no order on a device, so what would be overwritten is not written.
        stays = rank >= end - start - self.length
        self.losses[grouped[stays], slot[stays]] = losses.detach().double()[order][stays]
        self.seen += torch.bincount(timestep, minlength=self.num_timesteps)
