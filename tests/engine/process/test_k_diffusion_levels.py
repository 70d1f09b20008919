"""k-diffusion's training densities: closed forms of density, distribution function and quantiles."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from engine.objectives.regression import RegressionObjective
from engine.process.k_diffusion_levels import CosineInterpolated, LogLogistic, SplitLogNormal, VDiffusion
from engine.process.noise_levels import LogNormal, NoiseLevelsBase
from engine.process.noise_levels_base import TruncatedBase
from engine.process.processes import EdmProcess, VeProcess

COUNT = 4000
DRAWS = (torch.arange(COUNT, dtype=torch.float64) + 0.5) / COUNT
EDM = EdmProcess()


def phi(z: Tensor) -> Tensor:
    return (-0.5 * z**2).exp() / math.sqrt(2 * math.pi)


def split_density(ln_sigma: Tensor) -> Tensor:
    z = ln_sigma + 0.5
    return 2 / (0.4 + 1.6) * torch.where(z < 0, phi(z / 0.4), phi(z / 1.6))


def logistic_density(ln_sigma: Tensor) -> Tensor:
    x = (ln_sigma + 0.3) / 0.7
    return (-x).exp() / (1 + (-x).exp()) ** 2 / 0.7


def angle_density(ln_sigma: Tensor) -> Tensor:
    sigma = ln_sigma.exp()
    return 2 / math.pi * 0.5 * sigma / (sigma**2 + 0.25)


def normal_density(ln_sigma: Tensor) -> Tensor:
    return phi((ln_sigma + 1.2) / 1.2) / 1.2


DENSITIES: list[tuple[type[TruncatedBase], dict[str, float], Callable[[Tensor], Tensor]]] = [
    (SplitLogNormal, {"mode": -0.5, "std_low": 0.4, "std_high": 1.6}, split_density),
    (LogLogistic, {"mean": -0.3, "scale": 0.7}, logistic_density),
    (VDiffusion, {"sigma_data": 0.5}, angle_density),
    (LogNormal, {}, normal_density),
]
"""Density over ln(sigma) of each, written down from its definition."""

RANGES: list[dict[str, float]] = [
    {},
    {"sigma_min": 0.05},
    {"sigma_max": 3.0},
    {"sigma_min": 0.05, "sigma_max": 3.0},
]


@pytest.mark.parametrize(
    ("kind", "fields", "density"), DENSITIES, ids=lambda part: getattr(part, "__name__", "")
)
@pytest.mark.parametrize("cut", RANGES, ids=str)
def test_draws_have_the_density_cut_to_its_range(
    kind: type[TruncatedBase],
    fields: dict[str, float],
    density: Callable[[Tensor], Tensor],
    cut: dict[str, float],
) -> None:
    levels = kind.model_validate(fields | cut)
    low, high = math.log(cut.get("sigma_min", 1e-18)), math.log(cut.get("sigma_max", 1e18))
    ln_sigma = torch.linspace(low, high, 400_001, dtype=torch.float64)
    cumulative = torch.cumulative_trapezoid(density(ln_sigma), ln_sigma)
    if not cut:
        assert float(cumulative[-1]) == pytest.approx(1, abs=1e-7)
    # The share of the cut density below the u-quantile is u:
    # the rule's error is the grid's, 2e-4 wide, squared.
    found = levels.sigma(DRAWS, EDM).log()
    assert bool((found.diff() > 0).all())
    assert low <= float(found.min())
    assert float(found.max()) <= high
    place = (found - low) / (high - low) * 400_000
    below, rest = place.long(), place.frac()
    whole = torch.cat([torch.zeros(1, dtype=torch.float64), cumulative])
    shares = (whole[below] + rest * (whole[(below + 1).clamp(max=400_000)] - whole[below])) / whole[-1]
    assert float((shares - DRAWS).abs().max()) < 1e-6


@pytest.mark.parametrize(("kind", "fields"), [(kind, fields) for kind, fields, _ in DENSITIES])
def test_the_distribution_function_inverts_the_quantiles(
    kind: type[TruncatedBase], fields: dict[str, float]
) -> None:
    levels = kind.model_validate(fields)
    for share in (1e-4, 0.1, 0.2, 0.5, 0.77, 1 - 1e-4):
        sigma = float(levels.quantile(torch.tensor(share, dtype=torch.float64)))
        assert levels.share_below(sigma) == pytest.approx(share, rel=1e-10)


def test_quantiles_with_a_name() -> None:
    middle = torch.tensor([0.5], dtype=torch.float64)
    assert float(LogLogistic().sigma(middle, EDM)) == pytest.approx(0.5, rel=1e-12)
    assert float(VDiffusion().sigma(middle, EDM)) == pytest.approx(0.5, rel=1e-12)
    # A fifth lies below the mode of a split log-normal whose lower spread is a quarter of the upper.
    split = SplitLogNormal(mode=-0.5, std_low=0.4, std_high=1.6)
    assert float(split.sigma(torch.tensor([0.2], dtype=torch.float64), EDM)) == pytest.approx(math.exp(-0.5))


def test_a_split_log_normal_of_equal_spreads_is_log_normal() -> None:
    torch.testing.assert_close(
        SplitLogNormal().sigma(DRAWS, EDM), LogNormal().sigma(DRAWS, EDM), rtol=1e-9, atol=0
    )


def test_the_cosine_schedule_of_the_images_own_resolution_is_even_in_the_angle() -> None:
    levels = CosineInterpolated(image_size=32, noise_d_low=32)
    sigma = levels.sigma(DRAWS, EDM)
    low, high = (math.atan(end / 0.5) for end in (1e-3, 1e3))
    assert float((((sigma / 0.5).atan() - low) / (high - low) - DRAWS).abs().max()) < 1e-12


def test_the_interpolated_schedule_runs_from_one_resolutions_to_the_others() -> None:
    levels = CosineInterpolated(image_size=128, noise_d_low=32, noise_d_high=64)
    for u in (0.0, 0.25, 0.9, 1.0):
        t = 1 - u

        def ln_snr(resolution: int, t: float = t) -> float:
            shift = 2 * math.log(resolution / 128)
            start, end = (
                math.atan(math.exp(-0.5 * (-2 * math.log(sigma / 0.5) - shift))) for sigma in (1e3, 1e-3)
            )
            return shift - 2 * math.log(math.tan(start + t * (end - start)))

        expected = 0.5 * math.exp(-((1 - t) * ln_snr(32) + t * ln_snr(64)) / 2)
        found = float(levels.sigma(torch.tensor([u], dtype=torch.float64), EDM))
        assert found == pytest.approx(expected, rel=1e-9)
    ends = levels.sigma(torch.tensor([0.0, 1.0], dtype=torch.float64), EDM)
    assert ends.tolist() == pytest.approx([1e-3, 1e3], rel=1e-9)
    assert bool((levels.sigma(DRAWS, EDM).diff() > 0).all())


@pytest.mark.parametrize("kind", [LogNormal, SplitLogNormal, LogLogistic, VDiffusion, CosineInterpolated])
def test_a_range_that_does_not_rise_is_refused(kind: type[NoiseLevelsBase]) -> None:
    with pytest.raises(ValueError, match="sigma_min 3 is not below sigma_max 2"):
        kind.model_validate({"sigma_min": 3.0, "sigma_max": 2.0})


def test_sums_or_means_of_a_regressions_errors_are_a_choice() -> None:
    assert RegressionObjective().design.pixels == "mean"
    # EDM's code sums in the losses of its VP and VE baselines too.
    edms_ve = RegressionObjective(process=VeProcess(), target="eps", pixels="sum")
    assert edms_ve.design.pixels == "sum"
