"""Preconditioning: what is fed to the network at a noise level, and how its output becomes x0_hat."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.process.schedules import ScheduleName, vp_sigmas
from engine.spec import EdmObjective, Objective, SimpleObjective


@dataclass(frozen=True)
class Coefficients:
    """x0_hat = c_skip * x + c_out * net(c_in * x, c_noise): tensors with the shape of sigma, float64."""

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor
    c_noise: Tensor


class Preconditioning:
    """The coefficients of x = x0 + sigma * eps at any noise level."""

    @abstractmethod
    def __call__(self, sigma: Tensor) -> Coefficients:
        """Coefficients at noise levels `sigma` (float64, any shape)."""


@dataclass(frozen=True)
class EdmPreconditioning(Preconditioning):
    """Unit variance in and out of the network at every noise level [P3 Table 1, Eq. 7; playbook 2.4]."""

    sigma_data: float

    def __call__(self, sigma: Tensor) -> Coefficients:
        """c_skip = sd^2 / v, c_out = sigma sd / sqrt(v), c_in = 1 / sqrt(v) with v = sigma^2 + sd^2; ln(sigma) / 4."""
        total = sigma**2 + self.sigma_data**2
        return Coefficients(
            c_skip=self.sigma_data**2 / total,
            c_out=sigma * self.sigma_data / total.sqrt(),
            c_in=1 / total.sqrt(),
            c_noise=sigma.log() / 4,
        )


@dataclass(frozen=True)
class NoisePrediction(Preconditioning):
    """The network predicts eps from the variance-preserving x_t = c_in * x and the timestep [P1; P3 Table 1, iDDPM].

    A noise level is rounded, in log sigma, to the schedule's nearest timestep; levels beyond its ends get the end.
    """

    schedule: ScheduleName
    num_timesteps: int

    def __call__(self, sigma: Tensor) -> Coefficients:
        """c_skip = 1, c_out = -sigma, c_in = 1 / sqrt(1 + sigma^2), c_noise = timestep scaled to 0..1000."""
        table = torch.tensor(vp_sigmas(self.schedule, self.num_timesteps), dtype=torch.float64, device=sigma.device)
        boundaries = (table[1:] * table[:-1]).sqrt()
        timestep = torch.bucketize(sigma, boundaries)
        return Coefficients(
            c_skip=torch.ones_like(sigma),
            c_out=-sigma,
            c_in=1 / (1 + sigma**2).sqrt(),
            c_noise=timestep.double() * (1000 / self.num_timesteps),
        )


def preconditioning(objective: Objective) -> Preconditioning:
    """The preconditioning that belongs to an objective."""
    match objective:
        case EdmObjective(sigma_data=sigma_data):
            return EdmPreconditioning(sigma_data)
        case SimpleObjective(schedule=schedule, num_timesteps=num_timesteps):
            return NoisePrediction(schedule, num_timesteps)
