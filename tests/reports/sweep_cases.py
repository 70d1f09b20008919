"""Cells of the sweeps that tests of reports know: what varies, and every distance."""

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image
from sweep_files import cell


def scale_cells(seeds: Sequence[int] = (0,)) -> list[dict[str, Any]]:
    """Two widths under five samplers; distances rise by 0.1 a seed."""
    samplers = [
        {"kind": "euler", "num_steps": 18},
        {"kind": "heun", "num_steps": 9},
        {"kind": "heun", "num_steps": 18},
        {"kind": "heun", "num_steps": 40},
        {
            "kind": "edm_stochastic",
            "num_steps": 18,
            "s_churn": 30.0,
            "s_tmin": 0.05,
            "s_tmax": 50.0,
            "s_noise": 1.003,
        },
    ]
    distances = {16: (9.0, 8.5, 8.0, 7.75, 7.5), 32: (6.5, 6.25, 6.0, 5.0, 6.5)}
    sizes = {16: (250_000, 1_500_000), 32: (1_000_000, 6_000_000)}
    return [
        cell(
            {"model.channels": channels, **({"train.seed": seed} if len(seeds) > 1 else {})},
            sampler,
            distance + 0.1 * seed,
            train_seed=seed,
            num_params=sizes[channels][0],
            macs=sizes[channels][1],
        )
        for channels, values in distances.items()
        for seed in seeds
        for sampler, distance in zip(samplers, values, strict=True)
    ]


def churn_cells() -> list[dict[str, Any]]:
    """One training; S_churn 0 is one cell, 10 and 20 each under two values of S_noise."""
    values = {(0.0, 1.0): 4.0, (10.0, 1.0): 3.5, (20.0, 1.0): 3.8, (10.0, 1.007): 3.0, (20.0, 1.007): 4.2}
    return [
        cell(
            {"sample.s_churn": churn, "sample.s_noise": noise},
            {"kind": "edm_stochastic", "num_steps": 18, "s_churn": churn, "s_noise": noise},
            distance,
            varies="sampler",
        )
        for (churn, noise), distance in values.items()
    ]


def sampler_cells(count: int = 12, wobble: float = 0.05) -> list[dict[str, Any]]:
    """Heun and `count` stochastic samplers at 18 steps, of distances 3.0, 3.1, ... and Heun's 5.0.

    Leaving out a block moves all of them alike by up to 1.8; all but the best wobble by +-`wobble` besides,
    so the standard error of their difference to the best is sqrt(9 / 10 * 10) * wobble = 3 * wobble.
    """
    found = []
    for number in range(count + 1):
        churn, distance = (0.0, 5.0) if number == count else (10.0 * (number + 1), 3 + number / 10)
        own = wobble if number else 0.0
        sampler = {"kind": "edm_stochastic", "num_steps": 18, "s_churn": churn}
        one = cell({"sample.s_churn": churn}, sampler, distance, varies="sampler")
        left_out = [distance + 0.2 * block + own * (-1) ** block for block in range(10)]
        found.append({**one, "jackknife": {"fd_classifier": left_out}})
    return found


def chain_cells(channels: Sequence[int] = (16,)) -> list[dict[str, Any]]:
    """DDPM under two covariances and DDIM, at three numbers of steps;
    OCM's gains shrink as steps are added."""
    found = []
    for width in channels:
        for steps in (5, 10, 20):
            values = {"beta_tilde": 12.0 - 16.0 / width - steps / 5, "ocm": 9.0 - 16.0 / width - steps / 10}
            for covariance, distance in values.items():
                sampler = {"kind": "ddpm", "num_steps": steps, "covariance": covariance}
                axes = {"model.channels": width, "sample.covariance": covariance, "sample.num_steps": steps}
                one = cell(axes, sampler, distance, varies="objective")
                one["metrics"]["nelbo_test"] = distance / 2
                found.append(one)
            ddim = {"kind": "ddim", "num_steps": steps, "eta": 0.0, "covariance": "none"}
            found.append(
                cell({"model.channels": width, "sample.num_steps": steps}, ddim, 8.5, varies="objective")
            )
    return found


def size_cells(floor: float = 0.5, seeds: Sequence[int] = (0,), **changes: Any) -> list[dict[str, Any]]:
    """Four widths whose loss lies 1000 F^-0.25 above `floor`, where F = MACs x 96,000 images;
    `changes` are axes."""
    found = []
    for width in (8, 16, 32, 64):
        macs = 1000 * width**2
        gap = 1000 * (macs * 96_000.0) ** -0.25
        for seed in seeds:
            axes = {"model.channels": width, **changes, **({"train.seed": seed} if len(seeds) > 1 else {})}
            sizes = {"num_params": 100 * width**2, "macs": macs, "train_seed": seed}
            one = cell(axes, {"kind": "heun", "num_steps": 18}, 3.0 + 8 / width, **sizes)
            one["metrics"] |= {"model_loss": floor + gap, "optimal_loss": floor, "optimal_loss_gap": gap}
            found.append(one)
    return found


def panel_of_latents(shade: int) -> bytes:
    """A sample grid of 8 x 8 images whose columns have grey
    levels of their own, one-pixel white lines between."""
    image = Image.new("L", (8 * 33 - 1, 8 * 33 - 1), 255)
    for row in range(8):
        for column in range(8):
            image.paste(shade + 10 * column, (33 * column, 33 * row, 33 * column + 32, 33 * row + 32))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def latents_cells() -> list[dict[str, Any]]:
    """Two widths under two deterministic solvers at two
    costs, with the agreement of each and its sample grid."""
    agreements = {("euler", 9): 0.5, ("euler", 35): 0.9, ("heun", 5): 0.25, ("heun", 18): 0.95}
    found = []
    for channels, penalty in ((16, 0.0), (32, 0.125)):
        for number, ((kind, steps), agreement) in enumerate(agreements.items()):
            one = cell(
                {"model.channels": channels},
                {"kind": kind, "num_steps": steps},
                9.0 - channels / 8 - agreement,
            )
            one["metrics"]["agreement"] = agreement - penalty
            found.append({**one, "picture": panel_of_latents(40 * number)})
    return found
