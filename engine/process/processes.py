"""The processes x_t = a x0 + b eps, each as a function of the one coordinate they share, sigma = b / a.

Any of them can train a network, and a network trained by one can be sampled by a sampler of another, because
both meet at x = x_t / a = x0 + sigma eps.
"""

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from engine.frozen import Frozen
from engine.kinds import Kinds
from engine.process.off_table import OffTableName, nearest_timestep, told_timestep
from engine.process.schedules import TERMINAL_SIGMA, ScheduleName, vp_sigmas

if TYPE_CHECKING:
    from torch import Tensor


PathName = Literal["linear", "vp"]
"""Paths of flow matching. linear: x_t = (1 - t) x0 + t eps;
vp: x_t = cos(pi t / 2) x0 + sin(pi t / 2) eps."""


TimeScaleName = Literal["thousand", "raw", "shifted"]
"""The number that a network is told for timestep t = 0 .. T - 1 of a chain.

thousand: 1000 t / T, so that chains of any length look alike [P1 code, rescale_timesteps: its
default]. raw: t [P1's class-conditional ImageNet-64 network of T = 4000; ADM; DiT: at T =
1000 it is the same]. shifted: t + 1 [DDPM's own numbering: P6's and Analytic-DPM's networks
on CIFAR-10]. A network that is told otherwise than it was trained is another network.
"""


class ProcessBase(Frozen):
    """What every process answers. Tensors are float64 and of any shape."""

    discrete: ClassVar[bool] = False
    """Whether there are timesteps, and no noise levels between them."""

    @property
    def told(self) -> TimeScaleName | None:
        """How timesteps are told to the network; None where there are none."""
        return None

    if TYPE_CHECKING:

        @property
        def kind(self) -> str:
            """The name in grids."""

    @abstractmethod
    def scale(self, sigma: "Tensor") -> "Tensor":
        """a at noise level `sigma`, so that x_t = a x with x = x0 + sigma eps."""

    @abstractmethod
    def sigma_at(self, time: "Tensor") -> "Tensor":
        """Noise level at a fraction of the process's time, 0 (least noise) to 1 (most)."""

    @abstractmethod
    def c_noise(self, sigma: "Tensor") -> "Tensor":
        """What the network is told of the noise level, scaled to suit its sinusoidal embedding."""

    @property
    @abstractmethod
    def sigma_range(self) -> tuple[float, float]:
        """Smallest and largest noise level that training shows."""

    @property
    def sigmas(self) -> tuple[float, ...]:
        """Noise level of every timestep, rising; none in continuous time."""
        return ()

    def timestep(self, sigma: "Tensor") -> "Tensor":
        """Index, int64, of the timestep nearest to each noise level. ValueError in continuous time."""
        raise ValueError(f"process {self.kind} has no timesteps")

    def velocity(self, sigma: "Tensor") -> tuple["Tensor", "Tensor"]:
        """(p, q) of the flow velocity u = p x0 + q eps:
        eps - x0, the straight path's, unless the path is another."""
        one = sigma.new_ones(sigma.shape)
        return -one, one


class DiscreteProcess(ProcessBase):
    """DDPM's chain of T timesteps with a schedule of betas [P1 2.1; playbook 2.9]."""

    discrete: ClassVar[bool] = True

    kind: Literal["discrete"] = "discrete"
    schedule: ScheduleName = "linear"
    """Noise schedule."""
    num_timesteps: int = Field(default=1000, ge=2)
    """Length T of the chain."""
    zero_terminal_snr: bool = False
    """Rescale the schedule so that its last timestep is pure noise."""
    time_scale: TimeScaleName = "thousand"
    """What the network is told for timestep t: thousand, 1000 t / T (P1's default); raw, t (P1's
    class-conditional ImageNet-64 network, ADM, DiT); shifted, t + 1 (P6 and Analytic-DPM on CIFAR-10)."""
    off_table: OffTableName = "nearest_log"
    """The t for a noise level between those of two timesteps:
    the nearest in ln sigma, the nearest in sigma as EDM rounds, or interpolated in ln sigma."""

    @property
    def told(self) -> TimeScaleName:
        """As configured."""
        return self.time_scale

    @property
    def sigmas(self) -> tuple[float, ...]:
        """Noise level of every timestep, rising."""
        return vp_sigmas(self.schedule, self.num_timesteps, self.zero_terminal_snr)

    @property
    def sigma_range(self) -> tuple[float, float]:
        """Noise levels of the first and the last timestep."""
        return self.sigmas[0], self.sigmas[-1]

    def scale(self, sigma: "Tensor") -> "Tensor":
        """sqrt(alpha_bar) = 1 / sqrt(1 + sigma^2)."""
        return 1 / (1 + sigma**2).sqrt()

    def sigma_at(self, time: "Tensor") -> "Tensor":
        """Noise level of timestep floor(time T)."""
        table = time.new_tensor(self.sigmas)
        return table[(time * self.num_timesteps).long().clamp(max=self.num_timesteps - 1)]

    def timestep(self, sigma: "Tensor") -> "Tensor":
        """Index, int64, of the timestep nearest in log sigma, or in sigma with off_table `nearest`;
        levels beyond the ends get the end."""
        return nearest_timestep(sigma, sigma.new_tensor(self.sigmas), self.off_table)

    def c_noise(self, sigma: "Tensor") -> "Tensor":
        """The timestep that `off_table` gives, as `time_scale` tells it."""
        timestep = told_timestep(sigma, sigma.new_tensor(self.sigmas), self.off_table)
        if self.time_scale == "raw":
            return timestep
        return timestep + 1 if self.time_scale == "shifted" else timestep * (1000 / self.num_timesteps)


class VpProcess(ProcessBase):
    """The continuous variance-preserving SDE [P3 Table 1, VP; Song et al. 2021]."""

    kind: Literal["vp"] = "vp"
    beta_d: float = Field(default=19.9, gt=0)
    """Slope of beta(t) = beta_min + beta_d t."""
    beta_min: float = Field(default=0.1, gt=0)
    """beta at time 0."""
    epsilon_t: float = Field(default=1e-5, gt=0, lt=1)
    """Smallest time that training shows."""

    @property
    def sigma_range(self) -> tuple[float, float]:
        """Noise levels at times epsilon_t and 1."""
        low, high = (
            math.sqrt(math.expm1(0.5 * self.beta_d * time**2 + self.beta_min * time))
            for time in (self.epsilon_t, 1.0)
        )
        return low, high

    def scale(self, sigma: "Tensor") -> "Tensor":
        """1 / sqrt(1 + sigma^2)."""
        return 1 / (1 + sigma**2).sqrt()

    def sigma_at(self, time: "Tensor") -> "Tensor":
        """sqrt(exp(beta_d t^2 / 2 + beta_min t) - 1) at t from epsilon_t to 1."""
        t = self.epsilon_t + (1 - self.epsilon_t) * time
        return (0.5 * self.beta_d * t**2 + self.beta_min * t).expm1().sqrt()

    def time(self, sigma: "Tensor") -> "Tensor":
        """t at a noise level: the positive root of beta_d t^2 / 2 + beta_min t = ln(1 + sigma^2)."""
        return (
            (self.beta_min**2 + 2 * self.beta_d * (sigma**2).log1p()).sqrt() - self.beta_min
        ) / self.beta_d

    def c_noise(self, sigma: "Tensor") -> "Tensor":
        """(M - 1) t with M = 1000."""
        return 999 * self.time(sigma)


class ExplodingProcess(ProcessBase):
    """Noise added to data that is not scaled, between two levels."""

    sigma_min: float = Field(gt=0)
    """Smallest noise level."""
    sigma_max: float = Field(gt=0)
    """Largest noise level."""

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min:g} is not below sigma_max {self.sigma_max:g}")
        return self

    @property
    def sigma_range(self) -> tuple[float, float]:
        """As configured."""
        return self.sigma_min, self.sigma_max

    def scale(self, sigma: "Tensor") -> "Tensor":
        """1: only noise is added."""
        return sigma.new_ones(sigma.shape)


class VeProcess(ExplodingProcess):
    """The continuous variance-exploding SDE [P3 Table 1, VE; Song et al. 2021]."""

    kind: Literal["ve"] = "ve"
    sigma_min: float = Field(default=0.02, gt=0)
    """Smallest noise level."""
    sigma_max: float = Field(default=100.0, gt=0)
    """Largest noise level."""

    def sigma_at(self, time: "Tensor") -> "Tensor":
        """sigma_min (sigma_max / sigma_min)^time: even in log sigma."""
        return self.sigma_min * (time * math.log(self.sigma_max / self.sigma_min)).exp()

    def c_noise(self, sigma: "Tensor") -> "Tensor":
        """ln(sigma / 2)."""
        return (sigma / 2).log()


class EdmProcess(ExplodingProcess):
    """EDM's own: noise is added to unscaled data and sigma is the time [P3 Table 1, last column]."""

    kind: Literal["edm"] = "edm"
    sigma_min: float = Field(default=0.002, gt=0)
    """Smallest noise level of a uniformly drawn time."""
    sigma_max: float = Field(default=80.0, gt=0)
    """Largest noise level of a uniformly drawn time."""

    def sigma_at(self, time: "Tensor") -> "Tensor":
        """Even in sigma."""
        return self.sigma_min + (self.sigma_max - self.sigma_min) * time

    def c_noise(self, sigma: "Tensor") -> "Tensor":
        """ln(sigma) / 4."""
        return sigma.log() / 4


class FlowProcess(ProcessBase):
    """Flow matching from data (t = 0) to noise (t = 1) [companion text 004; Lipman et al. 2023]."""

    kind: Literal["flow"] = "flow"
    path: PathName = "linear"
    """linear: x_t = (1 - t) x0 + t eps; vp: x_t = cos(pi t / 2) x0 + sin(pi t / 2) eps."""

    @property
    def sigma_range(self) -> tuple[float, float]:
        """All noise levels."""
        return 0.0, TERMINAL_SIGMA

    def scale(self, sigma: "Tensor") -> "Tensor":
        """1 - t = 1 / (1 + sigma), or cos(pi t / 2) = 1 / sqrt(1 + sigma^2)."""
        return 1 / (1 + sigma) if self.path == "linear" else 1 / (1 + sigma**2).sqrt()

    def sigma_at(self, time: "Tensor") -> "Tensor":
        """t / (1 - t), or tan(pi t / 2); TERMINAL_SIGMA at most."""
        sigma = time / (1 - time) if self.path == "linear" else (time * (math.pi / 2)).tan()
        return sigma.clamp(max=TERMINAL_SIGMA)

    def time(self, sigma: "Tensor") -> "Tensor":
        """t at a noise level."""
        return sigma / (1 + sigma) if self.path == "linear" else sigma.atan() * (2 / math.pi)

    def c_noise(self, sigma: "Tensor") -> "Tensor":
        """1000 t: with t itself the sinusoidal embedding would use almost none of its dimensions [004]."""
        return 1000 * self.time(sigma)

    def velocity(self, sigma: "Tensor") -> tuple["Tensor", "Tensor"]:
        """dx_t / dt: eps - x0, or pi / 2 (cos(pi t / 2) eps - sin(pi t / 2) x0)."""
        if self.path == "linear":
            return super().velocity(sigma)
        half_pi = math.pi / 2
        return -half_pi / (1 + sigma**-2).sqrt(), half_pi * self.scale(sigma)


PROCESSES: Kinds[type[ProcessBase]] = Kinds(
    "process", (DiscreteProcess, VpProcess, VeProcess, EdmProcess, FlowProcess)
)
"""Every process's class by its `kind`."""

if TYPE_CHECKING:
    Process = ProcessBase
else:
    Process = PROCESSES.union()
"""A field's type: any process, told apart by its `kind`."""
