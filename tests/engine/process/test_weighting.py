"""Loss weights: their closed forms for x0, what they become for other targets, and the guard at zero SNR."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from engine.process.precond import Preconditioning
from engine.process.processes import VpProcess
from engine.process.schedules import TERMINAL_SIGMA
from engine.process.targets import TargetName
from engine.process.weighting import (
    WEIGHTINGS,
    ClippedSnrWeight,
    EdmWeight,
    MaxSnrWeight,
    MinSnrWeight,
    P2Weight,
    SnrWeight,
    SoftMinSnrWeight,
    UniformWeight,
    WeightingBase,
    target_weight,
)

SIGMA = torch.logspace(-3, 3, 61, dtype=torch.float64)
SNR = SIGMA**-2
SIGMA_DATA = 0.5
F_SCALE = (SIGMA * SIGMA_DATA) ** 2 / (SIGMA**2 + SIGMA_DATA**2)  # c_out^2 of EDM's preconditioning

CLOSED_FORMS: list[tuple[WeightingBase, Callable[[Tensor], Tensor]]] = [
    (SnrWeight(), lambda snr: snr),
    (SnrWeight(gamma=0.0), torch.ones_like),
    (SnrWeight(gamma=0.5), torch.sqrt),
    (MinSnrWeight(), lambda snr: snr.clamp(max=5)),
    (MaxSnrWeight(), lambda snr: snr.clamp(min=1)),
    (ClippedSnrWeight(), lambda snr: snr.clamp(0.1, 5)),
    (P2Weight(), lambda snr: snr / (1 + snr)),
    (P2Weight(k=2.0, gamma=0.5), lambda snr: snr / (2 + snr).sqrt()),
    (EdmWeight(), lambda snr: snr + 4),
    (SoftMinSnrWeight(), lambda snr: 4 * snr / (snr + 4)),
]


def c_out(target: TargetName) -> Tensor:
    return Preconditioning(VpProcess(), target, SIGMA_DATA)(SIGMA).c_out


def close(found: Tensor, expected: Tensor) -> bool:
    """Equal up to a few roundings; v's c_out at sigma = 1e-3 and the like cancel nothing."""
    return torch.allclose(found, expected, rtol=1e-13, atol=0)


def test_every_weighting_has_its_closed_form_here() -> None:
    assert {type(weighting) for weighting, _ in CLOSED_FORMS} | {UniformWeight} == set(WEIGHTINGS.values())


@pytest.mark.parametrize(
    ("weighting", "closed_form"), CLOSED_FORMS, ids=lambda part: "" if callable(part) else repr(part)
)
def test_weights_of_the_image_and_of_every_other_target(
    weighting: WeightingBase, closed_form: Callable[[Tensor], Tensor]
) -> None:
    of_x0 = closed_form(SNR)
    assert close(weighting(SIGMA, c_out("x0")), of_x0)
    assert close(target_weight(weighting, SIGMA, c_out("x0")), of_x0)
    assert close(target_weight(weighting, SIGMA, c_out("eps")), of_x0 / SNR)
    assert close(target_weight(weighting, SIGMA, c_out("v")), of_x0 / (SNR + 1))
    assert close(target_weight(weighting, SIGMA, c_out("F")), of_x0 * F_SCALE)


@pytest.mark.parametrize(
    ("target", "of_x0"),
    [
        ("x0", torch.ones_like(SNR)),
        ("eps", SNR),
        ("v", SNR + 1),
        ("F", SNR + 4),
        ("u", (1 + SNR.sqrt()) ** 2),  # c_out = -t = -sigma / (1 + sigma)
    ],
)
def test_uniform_is_one_on_the_target(target: TargetName, of_x0: Tensor) -> None:
    assert close(UniformWeight()(SIGMA, c_out(target)), of_x0)
    assert close(target_weight(UniformWeight(), SIGMA, c_out(target)), torch.ones_like(SIGMA))


def test_edms_weight_is_one_on_f_and_snr_is_the_loss_of_the_noise() -> None:
    assert close(target_weight(EdmWeight(), SIGMA, c_out("F")), torch.ones_like(SIGMA))
    assert close(target_weight(SnrWeight(), SIGMA, c_out("eps")), torch.ones_like(SIGMA))


def test_soft_min_snr_on_f_is_the_form_it_is_known_by() -> None:
    known = (SIGMA * SIGMA_DATA) ** 2 / (SIGMA**2 + SIGMA_DATA**2) ** 2
    assert close(target_weight(SoftMinSnrWeight(gamma=1 / SIGMA_DATA**2), SIGMA, c_out("F")), known)


def test_p2_with_gamma_zero_is_l_simple() -> None:
    assert close(target_weight(P2Weight(gamma=0.0), SIGMA, c_out("eps")), torch.ones_like(SIGMA))


@pytest.mark.parametrize("target", ["x0", "v", "F"])
@pytest.mark.parametrize("kind", WEIGHTINGS)
def test_at_zero_snr_the_weight_of_the_target_is_one(kind: str, target: TargetName) -> None:
    sigma = torch.tensor([1.0, TERMINAL_SIGMA], dtype=torch.float64)
    coefficients = Preconditioning(VpProcess(), target, SIGMA_DATA)(sigma)
    weights = target_weight(WEIGHTINGS[kind](), sigma, coefficients.c_out)
    assert weights[1] == 1
    assert weights[0] == WEIGHTINGS[kind]()(sigma, coefficients.c_out)[0] * coefficients.c_out[0] ** 2


def test_bounds_that_do_not_rise_are_refused() -> None:
    with pytest.raises(ValueError, match="low 5 is not below high 5"):
        ClippedSnrWeight(low=5.0)
