"""The last losses of each timestep or bin of noise levels."""

import torch
from torch import Tensor


class LossRings:
    """The last `length` losses of each of `count` bins."""

    def __init__(self, count: int, length: int, device: torch.device | str) -> None:
        self.count = count
        self.length = length
        self.losses = torch.zeros(count, length, dtype=torch.float64, device=device)
        """A ring for each bin: its n-th loss lies at n % length."""
        self.seen = torch.zeros(count, dtype=torch.int64, device=device)
        """Losses recorded so far in each bin."""

    @property
    def full(self) -> Tensor:
        """Whether every ring is full: a bool without dimensions, on the device."""
        return (self.seen >= self.length).all()

    def record(self, bins: Tensor, losses: Tensor) -> None:
        """Append losses [B] to the rings of their bins [B], in order; of too many at one, the last stay."""
        order = bins.argsort(stable=True)
        grouped = bins[order]
        start, end = torch.searchsorted(grouped, grouped), torch.searchsorted(grouped, grouped, right=True)
        rank = torch.arange(len(grouped), device=grouped.device) - start
        slot = (self.seen[grouped] + rank) % self.length
        # Two writes to one slot would have no order on a device, so what would be overwritten is not written.
        stays = rank >= end - start - self.length
        self.losses[grouped[stays], slot[stays]] = losses.detach().double()[order][stays]
        self.seen += torch.bincount(bins, minlength=self.count)
