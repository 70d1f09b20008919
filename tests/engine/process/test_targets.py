"""Every target becomes every other, exactly, and says so where it cannot."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from engine.process.processes import DiscreteProcess, EdmProcess, FlowProcess, ProcessBase, VpProcess
from engine.process.targets import TARGETS, TargetName, convert, mix, unit_scales

PROCESSES: list[ProcessBase] = [EdmProcess(), VpProcess(), FlowProcess(), FlowProcess(path="vp")]
each_process = pytest.mark.parametrize("process", PROCESSES, ids=repr)
each_pair = pytest.mark.parametrize(("source", "to"), list(itertools.product(TARGETS, TARGETS)))

ROUNDING = 2.0**-53
SIGMA_DATA = 0.5


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


SIGMA = torch.logspace(-3, 3, 61, dtype=torch.float64)[:, None]
X0, EPS = (
    torch.tensor([0.7, -0.9, 0.01], dtype=torch.float64),
    torch.tensor([-1.3, 0.4, 2.0], dtype=torch.float64),
)


def value_of(target: TargetName, sigma: Tensor, process: ProcessBase) -> Tensor:
    """The target's value for X0 and EPS at each sigma."""
    parts = mix(target, sigma, process, SIGMA_DATA)
    return parts.p * X0 + parts.q * EPS


def x_unit(sigma: Tensor) -> Tensor:
    a, b = unit_scales(sigma)
    return a * X0 + b * EPS


def error_bound(source: TargetName, to: TargetName, process: ProcessBase) -> Tensor:
    """What rounding can do to a conversion: 32 roundings of the sizes of the terms that are added.

    T = of_value * value + of_x * x, each coefficient a difference of two products over the determinant; the
    targets' own coefficients take up to a dozen operations, none of which cancels.
    """
    a, b = unit_scales(SIGMA)
    known, asked = (mix(name, SIGMA, process, SIGMA_DATA) for name in (source, to))
    determinant = (known.p * b - known.q * a).abs()
    of_value = ((asked.p * b).abs() + (asked.q * a).abs()) / determinant
    of_x = ((asked.q * known.p).abs() + (asked.p * known.q).abs()) / determinant
    sizes = [(part.p * X0).abs() + (part.q * EPS).abs() for part in (known, asked)]
    x_size = a * X0.abs() + b * EPS.abs()
    return 32 * ROUNDING * (of_value * sizes[0] + of_x * x_size + sizes[1])


@each_process
@each_pair
def test_every_target_becomes_every_other(source: TargetName, to: TargetName, process: ProcessBase) -> None:
    found = convert(value_of(source, SIGMA, process), x_unit(SIGMA), SIGMA, source, to, process, SIGMA_DATA)
    error = (found - value_of(to, SIGMA, process)).abs()
    assert bool((error <= error_bound(source, to, process)).all())


@each_process
@each_pair
def test_conversions_undo_each_other(source: TargetName, to: TargetName, process: ProcessBase) -> None:
    value, x = value_of(source, SIGMA, process), x_unit(SIGMA)
    there = convert(value, x, SIGMA, source, to, process, SIGMA_DATA)
    back = convert(there, x, SIGMA, to, source, process, SIGMA_DATA)
    # The error of the way there, amplified by the coefficient
    # of the value on the way back, and the way back's own.
    a, b = unit_scales(SIGMA)
    known, asked = (mix(name, SIGMA, process, SIGMA_DATA) for name in (to, source))
    amplified = ((asked.p * b - asked.q * a) / (known.p * b - known.q * a)).abs() * error_bound(
        source, to, process
    )
    assert bool(((back - value).abs() <= amplified + error_bound(to, source, process)).all())


# At sigma = 0 the noisy image is x0 itself: eps must come from the value. At infinity it is eps, so x0 must.
KNOWS_EPS_WITHOUT_NOISE = {"eps", "v", "u", "F"}
KNOWS_X0_IN_PURE_NOISE = {"x0", "v", "u", "F"}


@each_process
@each_pair
def test_without_noise_conversions_are_exact_or_refused(
    source: TargetName, to: TargetName, process: ProcessBase
) -> None:
    sigma = column(0.0)
    # The score is -eps / b, which is infinite at b = 0.
    defined = source == to or (source in KNOWS_EPS_WITHOUT_NOISE and to != "score")
    if not defined:
        with pytest.raises(ValueError, match=f"{source} does not determine {to} at sigma = 0"):
            convert(X0, X0, sigma, source, to, process, SIGMA_DATA)
    elif source != "score":
        found = convert(value_of(source, sigma, process), X0, sigma, source, to, process, SIGMA_DATA)
        # One product by pi / 2 and its division are the most that is rounded;
        # u = eps - x0 rounds with its own size.
        assert torch.allclose(found, value_of(to, sigma, process), rtol=4 * ROUNDING, atol=8 * ROUNDING)


@each_process
@each_pair
def test_in_pure_noise_conversions_are_exact_or_refused(
    source: TargetName, to: TargetName, process: ProcessBase
) -> None:
    sigma = column(math.inf)
    scaled = not isinstance(process, EdmProcess)
    # With unscaled images the score -eps / sigma is 0 there;
    # with scaled ones b = a sigma is 0 times infinity.
    defined = source == to or (source in KNOWS_X0_IN_PURE_NOISE and not (to == "score" and scaled))
    if not defined:
        with pytest.raises(ValueError, match=f"{source} does not determine {to} at sigma = inf; v does"):
            convert(X0, EPS, sigma, source, to, process, SIGMA_DATA)
    elif source != "score":
        found = convert(value_of(source, sigma, process), EPS, sigma, source, to, process, SIGMA_DATA)
        assert torch.allclose(found, value_of(to, sigma, process), rtol=4 * ROUNDING, atol=8 * ROUNDING)


def test_v_gives_the_image_at_the_last_timestep_of_a_chain_that_ends_in_pure_noise() -> None:
    process = DiscreteProcess(schedule="linear", zero_terminal_snr=True)
    sigma = column(process.sigmas[-1])
    v, x = value_of("v", sigma, process), x_unit(sigma)
    # b is 1 - 2^-55 and a is 2^-27, so v = -x0 + 2^-27 eps to the last digit of float64.
    assert torch.allclose(convert(v, x, sigma, "v", "x0", process), X0.expand_as(v), rtol=0, atol=1e-15)
    assert torch.allclose(v, -X0.expand_as(v), rtol=0, atol=2.0**-26)


def test_targets_have_their_published_forms() -> None:
    sigma = column(0.8)
    a, b = unit_scales(sigma)
    vp, edm = VpProcess(), EdmProcess()
    assert torch.allclose(value_of("v", sigma, vp), a * EPS - b * X0, rtol=1e-14)
    assert torch.allclose(value_of("score", sigma, vp), -EPS / b, rtol=1e-14)
    assert torch.allclose(value_of("score", sigma, edm), -EPS / sigma, rtol=1e-14)
    assert torch.allclose(value_of("u", sigma, FlowProcess()), (EPS - X0).expand(1, -1), rtol=1e-14)
    # F = (x0 - c_skip x) / c_out [P3 Eq. 8].
    c_skip = SIGMA_DATA**2 / (sigma**2 + SIGMA_DATA**2)
    c_out = sigma * SIGMA_DATA / (sigma**2 + SIGMA_DATA**2).sqrt()
    assert torch.allclose(value_of("F", sigma, edm), (X0 - c_skip * (X0 + sigma * EPS)) / c_out, rtol=1e-13)
    # The companion text's conversions of the unit-variance process: x0 = a x - b v, eps = b x + a v.
    v, x = value_of("v", sigma, vp), x_unit(sigma)
    assert torch.allclose(convert(v, x, sigma, "v", "x0", vp), a * x - b * v, rtol=1e-13)
    assert torch.allclose(convert(v, x, sigma, "v", "eps", vp), b * x + a * v, rtol=1e-13)


def test_flow_velocity_gives_the_image_as_the_companion_text_has_it() -> None:
    process, time = FlowProcess(), column(0.2, 0.5, 0.9)
    sigma = process.sigma_at(time)
    x_t = (1 - time) * X0 + time * EPS
    x0 = convert(EPS - X0, x_t / (1 - time) / (1 + sigma**2).sqrt(), sigma, "u", "x0", process)
    # x0 = x_t - t u; nothing but a few roundings of numbers of size 2, divided by 1 - t >= 0.1.
    assert torch.allclose(x0, X0.expand_as(x0), rtol=0, atol=2 * 8 * ROUNDING / 0.1)


def test_a_conversion_keeps_the_precision_of_the_images() -> None:
    sigma = column(2.0)
    found = convert(X0.float(), EPS.float(), sigma, "v", "x0", VpProcess())
    assert found.dtype == torch.float32
