"""Preconditioning: what is fed to the network at a noise level, and how its output becomes x0_hat."""

from dataclasses import dataclass

from torch import Tensor

from engine.process.processes import DiscreteProcess, EdmProcess, ProcessBase, VeProcess, VpProcess
from engine.process.targets import TargetName, mix


@dataclass(frozen=True)
class Coefficients:
    """x0_hat = c_skip * x + c_out * net(c_in * x, c_noise), the network's target being p * x0 + q * eps.

    Tensors with the shape of sigma, float64.
    """

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor
    c_noise: Tensor
    p: Tensor
    q: Tensor


@dataclass(frozen=True)
class Preconditioning:
    """The coefficients of x = x0 + sigma * eps for a network that predicts `target` of a `process`.

    The network sees x_t = a x as its process scales it. Predicting EDM's F, it sees x scaled to unit
    variance, and `sigma_data` is the data's standard deviation [P3 Table 1, Eq. 7; playbook 2.4].
    """

    process: ProcessBase
    target: TargetName
    sigma_data: float = 0.5

    def __call__(self, sigma: Tensor) -> Coefficients:
        """Coefficients at noise levels `sigma` (float64, any shape)."""
        target = mix(self.target, sigma, self.process, self.sigma_data)
        determinant = target.p * sigma - target.q
        whole = (sigma**2 + self.sigma_data**2).sqrt()
        return Coefficients(
            c_skip=-target.q / determinant,
            c_out=sigma / determinant,
            c_in=1 / whole if self.target == "F" else self.process.scale(sigma),
            c_noise=self.process.c_noise(sigma),
            p=target.p,
            q=target.q,
        )


PUBLISHED: dict[str, Preconditioning] = {
    "vp": Preconditioning(VpProcess(), "eps"),
    "ve": Preconditioning(VeProcess(), "eps"),
    "iddpm": Preconditioning(DiscreteProcess(schedule="cosine"), "eps"),
    "edm": Preconditioning(EdmProcess(), "F"),
}
"""The four columns of P3's Table 1. VE's network there predicts -eps, which only flips the sign of c_out."""


def whitening(
    target: TargetName, sigma: Tensor, process: ProcessBase, sigma_data: float
) -> tuple[Tensor, Tensor]:
    """(skip, out) with which skip * x + out * net is `target`,
    the network's part having mean 0 and variance 1.

    skip = Cov(T, x) / Var x and out = sqrt(Var T - Cov(T, x)^2 / Var x) for data of
    standard deviation sigma_data. The seeds' table gives (0, 1) for v, which holds
    only at sigma_data = 1. Whatever the target, what is left to the network is EDM's
    F up to its sign: the choice of a whitened target is the choice of a weight.
    """
    target_mix = mix(target, sigma, process, sigma_data)
    variance = sigma**2 + sigma_data**2
    skip = (target_mix.p * sigma_data**2 + target_mix.q * sigma) / variance
    out = sigma_data * (target_mix.p * sigma - target_mix.q).abs() / variance.sqrt()
    return skip, out
