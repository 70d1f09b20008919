"""Distributions of the training noise level sigma, each a map from uniform draws in (0, 1)."""

import math

import torch
from torch import Tensor

from engine.process.schedules import ScheduleName, vp_sigmas


def log_normal(uniform: Tensor, mean: float, std: float) -> Tensor:
    """sigma with ln(sigma) ~ N(mean, std^2), by inverting the normal distribution [P3 Table 1; playbook 3.4]."""
    standard_normal = math.sqrt(2) * torch.erfinv(2 * uniform - 1)
    return (mean + std * standard_normal).exp()


def uniform_timestep(uniform: Tensor, schedule: ScheduleName, num_timesteps: int) -> Tensor:
    """sigma = sqrt((1 - alpha_bar) / alpha_bar) at a uniformly drawn timestep of a VP schedule [P1 2.1]."""
    table = torch.tensor(vp_sigmas(schedule, num_timesteps), dtype=torch.float64, device=uniform.device)
    return table[(uniform * num_timesteps).long()]
