"""Curves and clouds that commands show and plot: measured or computed on one side, plotted on the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class DesignCurves:
    """An objective and a sampler as curves over the noise level;
    all lists of one group have the same length."""

    title: str
    words: str
    """The choices of the objective, for the line under the title."""
    sigma: list[float]
    """Noise levels, rising evenly in ln sigma, at which the next eleven are given."""
    time: list[float]
    """Fraction of the process's time, 0 to 1."""
    density: list[float]
    """Of the training noise levels over ln sigma."""
    weight_x0: list[float]
    """Weight of the squared error of x0_hat."""
    weight_target: list[float]
    """Weight of the squared error of what the network predicts."""
    target_share: list[float]
    """Density times the weight on the target, over ln sigma, with area 1."""
    loss_share: list[float]
    """The loss of the exact denoiser of Gaussian data, over ln sigma, with area 1."""
    c_skip: list[float]
    c_out: list[float]
    c_in: list[float]
    c_noise: list[float]
    path_time: list[float]
    """Fractions of the process's time, 0 to 1, at which `path_sigma` is given."""
    path_sigma: list[float]
    """Noise levels of the process over its time."""
    sampler: str
    sampler_sigma: list[float]
    """Noise levels at which the sampler evaluates the network,
    without pure noise, which has no place on the axis."""


@dataclass(frozen=True)
class DiagnosisCurves:
    """A denoiser's losses over the noise level; all lists have the same length.
    Losses are of x0, per dimension."""

    title: str
    words: str
    """What was measured on how many images, for the line under the title."""
    sigma: list[float]
    """Noise levels, rising."""
    model_loss: list[float]
    """J: the mean squared error of x0_hat."""
    optimal_loss: list[float]
    """J*: that of the ideal denoiser of the same images."""
    gap: list[float]
    """J - J* on the same noise; noise may take it below 0."""
    gap_stderr: list[float]
    """Standard error of the gap."""
    weight: list[float]
    """Of the gap in the training loss, per unit of ln sigma:
    density of the training noise levels times weighting."""


@dataclass(frozen=True, eq=False)
class ToyCloud:
    """The samples of one sampler at one number of steps."""

    sampler: str
    k: int
    """Number of steps."""
    nfe: int
    """Evaluations of the denoiser."""
    distance: float
    """Energy distance to the data."""
    points: NDArray[np.float64]
    """[N, 2]."""


@dataclass(frozen=True, eq=False)
class ToyGrid:
    """All clouds of one data set, every sampler at every number of steps."""

    title: str
    data: NDArray[np.float64]
    """[M, 2]."""
    clouds: Sequence[ToyCloud]
    chance: float
    """The energy distance that one in twenty sets of as many independent draws from the data exceeds."""
    noise: float
    """Energy distance of the latents that all samplers start from."""

    @property
    def samplers(self) -> list[str]:
        """Names of the rows."""
        return list(dict.fromkeys(cloud.sampler for cloud in self.clouds))

    @property
    def steps(self) -> list[int]:
        """Numbers of steps of the columns."""
        return list(dict.fromkeys(cloud.k for cloud in self.clouds))

    def cloud(self, sampler: str, k: int) -> ToyCloud:
        """The cloud of one panel."""
        return next(cloud for cloud in self.clouds if (cloud.sampler, cloud.k) == (sampler, k))
