"""The K-budget figure: what four samplers make of the same 2-D latents with few steps and with many [004].

The denoiser is the exact one of the point set, so all that is seen is the samplers' own error.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.evaluation.oracle import EmpiricalOracle
from engine.noise import Purpose, generator_seed, normal, uniform, uniforms
from engine.samplers.base import SamplerBase
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.samplers.flow import Flow

NUM_POINTS = 512
NUM_SAMPLES = 1000
STEPS = (5, 10, 20, 50, 200)
CHANCE_SETS = 1000


@dataclass(frozen=True, eq=False)
class Cloud:
    """The samples of one sampler at one budget, and how far they are from the data."""

    sampler: str
    """DDPM, DDIM, FM-Euler or FM-RK4."""
    k: int
    """Number of steps."""
    nfe: int
    """Evaluations of the denoiser."""
    points: np.ndarray
    """float64 [N, 2]."""
    distance: float
    """Energy distance to the data."""


def two_moons() -> Tensor:
    """Two interleaved half circles with noise of 0.08, standardised: float64 [512, 2], always the same."""
    angle = math.pi * _uniform()
    upper = torch.arange(NUM_POINTS) % 2 == 0
    x = torch.where(upper, angle.cos(), 1 - angle.cos())
    y = torch.where(upper, angle.sin(), 0.5 - angle.sin())
    return _standardised(torch.stack([x, y], dim=1) + 0.08 * _normal())


def eight_gaussians() -> Tensor:
    """Eight Gaussians of standard deviation 0.1 on a circle of radius 1, standardised: float64 [512, 2]."""
    angle = math.pi / 4 * (torch.arange(NUM_POINTS) % 8)
    return _standardised(torch.stack([angle.cos(), angle.sin()], dim=1) + 0.1 * _normal())


DATASETS = {"two_moons": two_moons, "eight_gaussians": eight_gaussians}
"""Point sets by name; each coordinate has mean 0 and variance 1, as all noise levels here assume."""


def toy_samplers(k: int) -> dict[str, SamplerBase]:
    """The four samplers of the figure with k steps."""
    return {
        "DDPM": Ddpm(num_steps=k, clip_x0=False),
        "DDIM": Ddim(num_steps=k),
        "FM-Euler": Flow(num_steps=k, method="euler"),
        "FM-RK4": Flow(num_steps=k, method="rk4"),
    }


def latents(seed: int, num_samples: int) -> Tensor:
    """Where all samplers start: points of the standard normal distribution, float64 [num_samples, 2].

    They are spread evenly, as normal quantiles of Sobol's sequence, scrambled by the seed. Independent draws
    would lend every cloud their own distance from the distribution, ten times the error of a good sampler.
    """
    sequence = torch.quasirandom.SobolEngine(2, scramble=True, seed=generator_seed(seed, Purpose.LATENT, 0))
    points: Tensor = torch.special.ndtri(sequence.draw(num_samples, dtype=torch.float64))
    return points


def k_budget(
    dataset: str, seed: int, *, num_samples: int = NUM_SAMPLES, steps: tuple[int, ...] = STEPS
) -> list[Cloud]:
    """Clouds of every sampler at every number of steps, all from the same latents of `seed`.

    `dataset` is a key of DATASETS. DDPM's noise is keyed by the seed too, so the clouds are always the same.
    """
    data = DATASETS[dataset]()
    keys = torch.arange(num_samples)
    start = latents(seed, num_samples)
    denoise = EmpiricalOracle(data).denoise

    def noise(step: int) -> Tensor:
        return normal(seed, Purpose.SAMPLER_STEP, keys, (2,), step)

    clouds = []
    for k in steps:
        for name, sampler in toy_samplers(k).items():
            points = sampler.sample(denoise, start, noise)
            clouds.append(Cloud(name, k, sampler.nfe, points.numpy(), energy_distance(points, data)))
    return clouds


def energy_distance(x: Tensor, y: Tensor) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of two point sets [N, D], [M, D]: 0 when they are the same, else
    positive."""

    def mean_distance(a: Tensor, b: Tensor) -> Tensor:
        return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").mean()

    return float(2 * mean_distance(x, y) - mean_distance(x, x) - mean_distance(y, y))


def chance_distance(data: Tensor, num_samples: int) -> float:
    """The energy distance to `data` [M, D] that one in twenty
    sets of as many independent draws from it exceeds.

    Found from CHANCE_SETS of them. A draw is a point of the data, so a set is the share of every point in it.
    """
    picked = (uniforms(0, Purpose.SHUFFLE, torch.arange(CHANCE_SETS), num_samples) * len(data)).long()
    shares = torch.zeros(CHANCE_SETS, len(data), dtype=data.dtype)
    shares.scatter_add_(1, picked, torch.full(picked.shape, 1 / num_samples, dtype=data.dtype))
    distances = torch.cdist(data, data, compute_mode="donot_use_mm_for_euclid_dist")
    found = 2 * shares @ distances.mean(dim=1) - (shares @ distances * shares).sum(dim=1) - distances.mean()
    return float(found.quantile(0.95))


def _uniform() -> Tensor:
    return uniform(0, Purpose.NOISE_LEVEL, torch.arange(NUM_POINTS))


def _normal() -> Tensor:
    return normal(0, Purpose.TRAINING_NOISE, torch.arange(NUM_POINTS), (2,))


def _standardised(points: Tensor) -> Tensor:
    return (points - points.mean(dim=0)) / points.std(dim=0, correction=0)
