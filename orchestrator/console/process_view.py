"""An objective's numbers over the noise level, from the engine, and how they look on a terminal."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from engine.config.experiment import Experiment
from engine.metrics.diagnosis import quantile_levels
from engine.objectives.design import Design
from engine.posterior import Posterior
from engine.process.precond import Coefficients, Preconditioning
from engine.process.processes import ProcessBase
from engine.process.schedules import TERMINAL_SIGMA
from engine.process.weighting import target_weight
from engine.records.curves import DesignCurves
from engine.samplers.base import SamplerBase

Array = NDArray[np.float64]

DRAWS = 40_000
"""Evenly spread draws that stand for the noise levels' distribution; a multiple of usual chain lengths."""
GRID = 481
HALF_WINDOW = 0.1
"""The density is the share of draws within this much of ln sigma on either side."""
TAIL = 2e-3
"""Share of the draws that the axis may leave out at either end."""
SIGMA_LIMITS = (1e-4, 1e3)
"""Noise levels that the axis may show; beyond them, at 60 dB of noise, all is noise."""
ROWS = 8


def design_curves(experiment: Experiment, name: str) -> DesignCurves:
    """Everything the picture shows of an experiment's objective (a head's: its start's) and sampler."""
    objective = experiment.base_objective
    design = objective.design
    drawn = drawn_levels(design)
    levels = sampler_levels(experiment.held_to_trained_levels().sample)
    ln_sigma = _axis(drawn, levels)
    sigma = torch.from_numpy(np.exp(ln_sigma))
    c = Preconditioning(design.process, design.target, design.sigma_data)(sigma)
    density = density_of(drawn, ln_sigma)
    weight = bound_weight(sigma, density, c) if objective.is_bound else weights(design, sigma, c)
    gaussian = sigma**2 * design.sigma_data**2 / (sigma**2 + design.sigma_data**2)
    time = torch.linspace(0, 1, GRID, dtype=torch.float64)
    path = design.process.sigma_at(time).clamp(
        SIGMA_LIMITS[0] / 100, SIGMA_LIMITS[1] * 100
    )  # runs off the axis
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

    Its terms are (SNR(t - 1) - SNR(t)) / 2 times the squared error of x0_hat [Kingma et al. 2021]: an SNR
    over ln sigma, whatever the schedule, so an SNR over the density for an image shown; 0 where none is.
    """
    shown = torch.from_numpy(density)
    x0 = (sigma**-2 / shown).where(shown > 0, shown)
    return Weights(x0, x0 * c.c_out**2)


def drawn_levels(design: Design) -> Array:
    """ln sigma of evenly spread draws [DRAWS] of the noise levels that training shows."""
    return np.log(quantile_levels(design, DRAWS))


def density_of(drawn: Array, ln_sigma: Array) -> Array:
    """Density of `drawn`, sorted values of ln sigma, at `ln_sigma`; timesteps are spread to their halves."""
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
    """The noise levels at which a sampler evaluates the network, rising; not those that mean pure noise."""
    recorder = Recorder()
    nothing = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    sampler.sample(recorder, nothing, lambda step: nothing)
    return sorted({level for level in recorder.levels if SIGMA_LIMITS[0] <= level <= SIGMA_LIMITS[1]})


def words(experiment: Experiment) -> str:
    """The choices of an objective in a line."""
    base = experiment.base_objective
    design = base.design
    process = design.process.model_dump()
    schedule = process.get("schedule") or process.get("path") or ""
    steps = f", T = {process['num_timesteps']}" if "num_timesteps" in process else ""
    zero = ", zero terminal SNR" if process.get("zero_terminal_snr") else ""
    told = f", timesteps told as {process['time_scale']}" if "time_scale" in process else ""
    weighting = "variational bound" if base.is_bound else design.weighting.model_dump()["kind"]
    levels = design.noise_levels.model_dump()["kind"]
    schedule_kind = design.training_schedule.kind
    parts = (
        f"objective {base.kind}{_beside(experiment)}",
        f"process {process['kind']}" + (f" ({schedule}{steps}{zero}{told})" if schedule else ""),
        f"target {design.target}",
        f"weighting {weighting}",
        f"noise levels {levels}" + (", shown as at the start" if levels == "loss_second_moment" else ""),
        f"σ_data {design.sigma_data:g}" if design.target == "F" else "",
        "" if schedule_kind == "fixed" else f"shown without its training schedule {schedule_kind}",
    )
    return "  ·  ".join(filter(None, parts))


def _beside(experiment: Experiment) -> str:
    """What an objective has that the curves do not show: a head on top, or a term for the variance alone."""
    base = experiment.base_objective
    if base is not experiment.objective:
        return f" under a head of {experiment.objective.kind}"
    return base.beside


def levels_table(curves: DesignCurves, process: ProcessBase) -> Table:
    """The curves at a few noise levels, less than 80 characters wide.

    What is shown and what is lost are per cent of all, in the range around each level.
    """
    table = Table(box=None, header_style="bold", padding=(0, 0, 0, 1))
    headings = (
        "σ",
        "SNR\ndB",
        "t" if process.discrete else "time",
        "shown\n%",
        "loss\n%",
        "weight\nx0",
        "weight\ntarget",
    )
    for heading in (*headings, "c_skip", "c_out", "c_in", "c_noise"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = np.linspace(0, len(curves.sigma) - 1, ROWS).round().astype(int)
    shown, lost = (_shares(values, rows) for values in (curves.density, curves.loss_share))
    for row, of_images, of_loss in zip(rows, shown, lost, strict=True):
        sigma = curves.sigma[row]
        time = f"{curves.time[row]:.3f}"
        if process.discrete:
            time = str(int(process.timestep(torch.tensor([sigma], dtype=torch.float64))))
        columns = (
            curves.weight_x0,
            curves.weight_target,
            curves.c_skip,
            curves.c_out,
            curves.c_in,
            curves.c_noise,
        )
        numbers = [short(column[row]) for column in columns]
        table.add_row(short(sigma), f"{-20 * math.log10(sigma):.1f}", time, of_images, of_loss, *numbers)
    return table


def short(value: float) -> str:
    """Three digits in at most six characters and a sign; an exponent for the very small and large."""
    if value == 0 or 0.00995 <= abs(value) < 9999.5:
        return f"{value + 0.0:.0f}" if abs(value) >= 999.5 else f"{value + 0.0:.3g}"  # + 0.0 turns -0 into 0
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


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
    return [f"{100 * part / sum(values):.1f}" for part in parts]
