"""What a network may predict, and how any prediction becomes any other.

Every target is T = p x0 + q eps. With x = x0 + sigma eps that is two equations for x0 and eps, so one
solution serves all pairs of targets, preconditioning and weight translation alike.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from engine.process.processes import ProcessBase

if TYPE_CHECKING:
    from torch import Tensor

TargetName = Literal["x0", "eps", "v", "score", "u", "F"]
"""x0: clean image; eps: noise; v: velocity of the unit-variance process;
score: of x_t; u: flow velocity; F: EDM's."""

TARGETS: tuple[TargetName, ...] = get_args(TargetName)


@dataclass(frozen=True)
class Mix:
    """p and q of a target T = p x0 + q eps: tensors with the shape of sigma."""

    p: "Tensor"
    q: "Tensor"


def mix(target: TargetName, sigma: "Tensor", process: ProcessBase, sigma_data: float) -> Mix:
    """p and q of a target at noise levels `sigma` (float64);
    at sigma = 0 and infinity they may not be finite.

    v = a eps - b x0 with a^2 + b^2 = 1 [Salimans & Ho 2022]; score = -eps / b of x_t = a x0 + b eps; u is the
    process's velocity; F = (x0 - c_skip x) / c_out [P3 Eq. 8].
    """
    zero, one = sigma.new_zeros(sigma.shape), sigma.new_ones(sigma.shape)
    match target:
        case "x0":
            return Mix(one, zero)
        case "eps":
            return Mix(zero, one)
        case "v":
            a, b = unit_scales(sigma)
            return Mix(-b, a)
        case "score":
            return Mix(zero, -1 / (process.scale(sigma) * sigma))
        case "u":
            return Mix(*process.velocity(sigma))
        case "F":
            ratio = sigma_data / sigma
            return Mix(
                1 / (sigma_data * (1 + ratio**2).sqrt()), -sigma_data / (sigma**2 + sigma_data**2).sqrt()
            )


def unit_scales(sigma: "Tensor") -> tuple["Tensor", "Tensor"]:
    """a and b of the unit-variance mixture a x0 + b eps at sigma = b / a, right at 0 and at infinity too."""
    return 1 / (1 + sigma**2).sqrt(), 1 / (1 + sigma**-2).sqrt()


def convert(
    value: "Tensor",
    x_unit: "Tensor",
    sigma: "Tensor",
    source: TargetName,
    to: TargetName,
    process: ProcessBase,
    sigma_data: float = 0.5,
) -> "Tensor":
    """The target `to` that belongs to `value`, a value of
    `source`, at x_unit = a x0 + b eps (unit-variance mixture).

    All tensors broadcast; sigma is float64 in [0, infinity]. Raises ValueError where `source` does not
    determine `to`, such as x0 from eps at infinite noise, or where one of them is not finite.
    """
    if source == to:
        return value
    a, b = unit_scales(sigma)
    known = mix(source, sigma, process, sigma_data)
    asked = mix(to, sigma, process, sigma_data)
    determinant = known.p * b - known.q * a
    usable = (determinant != 0) & determinant.isfinite() & asked.p.isfinite() & asked.q.isfinite()
    if not bool(usable.all()):
        where = ", ".join(f"{level:g}" for level in sigma[~usable].unique().tolist()[:3])
        raise ValueError(f"{source} does not determine {to} at sigma = {where}; v does, at every noise level")
    of_value = (asked.p * b - asked.q * a) / determinant
    of_x = (asked.q * known.p - asked.p * known.q) / determinant
    return of_value.to(value.dtype) * value + of_x.to(value.dtype) * x_unit
