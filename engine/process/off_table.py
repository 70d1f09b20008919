"""Which timestep a network of a chain is told for a noise level that is in none of them. Imports no torch."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

OffTableName = Literal["nearest_log", "nearest", "interpolated"]
"""nearest_log: the timestep whose ln sigma is nearest (k-diffusion with
`quantize`); nearest: whose sigma is (EDM's `round_sigma`); interpolated:
between two timesteps, linear in ln sigma (k-diffusion without `quantize`)."""


def told_timestep(sigma: "Tensor", table: "Tensor", rule: OffTableName) -> "Tensor":
    """Timestep, float64, for noise levels `sigma` of any shape;
    `table` [T] are those of the timesteps, rising.

    Beyond the ends it is the end, and at a level of the table it is that timestep, by every rule.
    """
    if rule != "interpolated":
        return nearest_timestep(sigma, table, rule).double()
    import torch

    logs = table.log()
    log_sigma = sigma.log()
    below = (torch.searchsorted(table, sigma.contiguous(), right=True) - 1).clamp(0, len(table) - 2)
    share = (log_sigma - logs[below]) / (logs[below + 1] - logs[below])
    return below + share.clamp(0, 1)


def nearest_timestep(sigma: "Tensor", table: "Tensor", rule: OffTableName) -> "Tensor":
    """Index, int64, of the nearest timestep: in sigma by `nearest`, else in ln sigma."""
    import torch

    above = table[1:]
    below = table[:-1]
    middles = (above + below) / 2 if rule == "nearest" else (above * below).sqrt()
    return torch.bucketize(sigma.contiguous(), middles)
