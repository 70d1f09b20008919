"""An objective's numbers over the noise level, from the engine, and how they look on a terminal."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from engine.objective_spec import Design
from engine.process.precond import Coefficients, Preconditioning
from engine.process.processes import DiscreteProcess, ProcessBase
from engine.process.schedules import TERMINAL_SIGMA
from engine.process.weighting import target_weight
from engine.samplers import SamplerBase
from engine.samplers.base import Posterior
from engine.spec import Experiment
from reports.process_figure import DesignCurves

Array = NDArray[np.float64]

DRAWS = 40_000
"""Evenly spread draws that stand for the distribution of noise levels; a multiple of the usual chain lengths."""
GRID = 481
HALF_WINDOW = 0.1
"""The density is the share of draws within this much of ln sigma on either side."""
TAIL = 1e-3
"""Share of the draws that the axis may leave out at either end."""
SIGMA_LIMITS = (1e-4, 1e5)
ROWS = 8


def design_curves(experiment: Experiment, name: str) -> DesignCurves:
    """Everything the picture shows of an experiment's objective and sampler; of a head, its start's objective."""
    objective = experiment.base_objective
    design = objective.design
    drawn = np.log(design.noise_levels.sigma(_even(DRAWS), design.process).numpy())
    levels = sampler_levels(experiment.sample)
    ln_sigma = _axis(drawn, levels)
    sigma = torch.from_numpy(np.exp(ln_sigma))
    c = Preconditioning(design.process, design.target, design.sigma_data)(sigma)
    density = density_of(drawn, ln_sigma)
    weight = bound_weight(sigma, density, c) if objective.kind == "vlb" else weights(design, sigma, c)
    gaussian = sigma**2 * design.sigma_data**2 / (sigma**2 + design.sigma_data**2)
    time = torch.linspace(0, 1, GRID, dtype=torch.float64)
    path = design.process.sigma_at(time).clamp(*SIGMA_LIMITS)
    return DesignCurves(
        title=name,
        words=words(experiment),
        sigma=sigma.tolist(),
        time=_time_at(ln_sigma, design.process).tolist(),
        density=density.tolist(),
        weight_x0=weight.x0.tolist(),
        weight_target=weight.target.tolist(),
        target_share=_area_one(density * weight.target.numpy(), ln_sigma),
        loss_share=_area_one(density * (weight.x0 * gaussian).numpy(), ln_sigma),
        c_skip=c.c_skip.tolist(),
        c_out=c.c_out.tolist(),
        c_in=c.c_in.tolist(),
        c_noise=c.c_noise.tolist(),
        path_time=time.tolist(),
        path_sigma=path.tolist(),
        sampler=experiment.sample.label,
        sampler_sigma=levels,
    )


@dataclass(frozen=True)
class Weights:
    """Weights of the squared errors of x0_hat and of the network's target, each over the noise levels."""

    x0: Tensor
    target: Tensor


def weights(design: Design, sigma: Tensor, c: Coefficients) -> Weights:
    """The design's own."""
    return Weights(design.weighting(sigma, c.c_out), target_weight(design.weighting, sigma, c.c_out))


def bound_weight(sigma: Tensor, density: Array, c: Coefficients) -> Weights:
    """Those of the variational bound with the reverse variance beta_tilde.

    Its terms are (SNR(t - 1) - SNR(t)) / 2 times the squared error of x0_hat [Kingma et al. 2021]: an SNR over ln
    sigma, whatever the schedule, so an SNR over the density for an image shown; 0 where none is.
    """
    shown = torch.from_numpy(density)
    x0 = (sigma**-2 / shown).where(shown > 0, shown)
    return Weights(x0, x0 * c.c_out**2)


def density_of(drawn: Array, ln_sigma: Array) -> Array:
    """Density of `drawn`, sorted values of ln sigma, at the points `ln_sigma`; timesteps are spread to their halves."""
    values, first, counts = np.unique(drawn, return_index=True, return_counts=True)
    share = (first + counts / 2) / len(drawn)
    low, high = (np.clip(ln_sigma + side, values[0], values[-1]) for side in (-HALF_WINDOW, HALF_WINDOW))
    inside = (ln_sigma >= values[0]) & (ln_sigma <= values[-1])
    density: Array = np.where(inside, np.interp(high, values, share) - np.interp(low, values, share), 0.0)
    return density / np.where(inside, high - low, 1.0)


class Recorder:
    """Stands for a denoiser and remembers the noise levels it is asked for."""

    def __init__(self) -> None:
        self.levels: list[float] = []

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """Zeros."""
        self.levels.append(float(sigma))
        return torch.zeros_like(x)

    def posterior(self, x: Tensor, sigma: float) -> Posterior:
        """Zeros."""
        return Posterior(self(x, sigma), torch.zeros_like(x), torch.zeros_like(x))


def sampler_levels(sampler: SamplerBase) -> list[float]:
    """The noise levels at which a sampler evaluates the network, rising; without those that stand for pure noise."""
    recorder, nothing = Recorder(), torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    sampler.sample(recorder, nothing, lambda step: nothing)
    return sorted({level for level in recorder.levels if SIGMA_LIMITS[0] <= level <= SIGMA_LIMITS[1]})


def words(experiment: Experiment) -> str:
    """The choices of an objective in a line."""
    base, design = experiment.base_objective, experiment.base_objective.design
    process = design.process.model_dump()
    schedule = process.get("schedule") or process.get("path") or ""
    steps = f", T = {process['num_timesteps']}" if "num_timesteps" in process else ""
    zero = ", zero terminal SNR" if process.get("zero_terminal_snr") else ""
    weighting = "variational bound" if base.kind == "vlb" else design.weighting.model_dump()["kind"]
    head = "" if base is experiment.objective else f", under a head of {experiment.objective.kind}"
    parts = (
        f"objective {base.kind}{head}",
        f"process {process['kind']}" + (f" ({schedule}{steps}{zero})" if schedule else ""),
        f"target {design.target}",
        f"weighting {weighting}",
        f"noise levels {design.noise_levels.model_dump()['kind']}",
        f"σ_data {design.sigma_data:g}",
    )
    return "  ·  ".join(parts)


def levels_table(curves: DesignCurves, process: ProcessBase) -> Table:
    """The curves at a few noise levels; what is shown and what is lost are shares of the range around each level."""
    headings = ("σ", "SNR dB", "timestep" if isinstance(process, DiscreteProcess) else "time", "shown", "loss")
    more = ("weight x0", "weight target", "c_skip", "c_out", "c_in", "c_noise")
    table = Table(box=None, header_style="bold")
    for heading in (*headings, *more):
        table.add_column(heading, justify="right")
    rows = np.linspace(0, len(curves.sigma) - 1, ROWS).round().astype(int)
    shown, lost = (_shares(values, rows) for values in (curves.density, curves.loss_share))
    for row, of_images, of_loss in zip(rows, shown, lost, strict=True):
        sigma, time = curves.sigma[row], f"{curves.time[row]:.3f}"
        if isinstance(process, DiscreteProcess):
            time = str(int(process.timestep(torch.tensor([sigma], dtype=torch.float64))))
        columns = (curves.weight_x0, curves.weight_target, curves.c_skip, curves.c_out, curves.c_in, curves.c_noise)
        numbers = [f"{column[row] + 0.0:.3g}" for column in columns]  # + 0.0 turns -0 into 0
        table.add_row(f"{sigma:.3g}", f"{-20 * math.log10(sigma):.1f}", time, of_images, of_loss, *numbers)
    return table


def _even(count: int) -> Tensor:
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def _axis(drawn: Array, levels: list[float]) -> Array:
    """Points even in ln sigma that hold all but the tails of what is drawn, and what the sampler visits."""
    ends = [*np.quantile(drawn, [TAIL, 1 - TAIL]), *np.log([level for level in levels if level > 0])]
    low, high = np.clip([min(ends), max(ends)], *np.log(SIGMA_LIMITS))
    return np.linspace(low, high, GRID)


def _time_at(ln_sigma: Array, process: ProcessBase) -> Array:
    time = torch.linspace(0, 1, DRAWS, dtype=torch.float64)
    path = process.sigma_at(time).clamp(1e-12, TERMINAL_SIGMA).log().numpy()
    found: Array = np.interp(ln_sigma, path, time.numpy())
    return found


def _area_one(values: Array, ln_sigma: Array) -> list[float]:
    area = float(np.trapezoid(values, ln_sigma))
    return [float(value) for value in values / area]


def _shares(values: list[float], rows: NDArray[np.int_]) -> list[str]:
    """Share of each row: what lies nearer to it than to its neighbours, in per cent of all."""
    edges = [0, *((rows[1:] + rows[:-1] + 1) // 2), len(values)]
    parts = np.add.reduceat(np.asarray(values), edges[:-1])
    return [f"{100 * part / sum(values):.1f} %" for part in parts]
