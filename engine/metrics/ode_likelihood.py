"""The likelihood of images under the probability-flow ODE,
by the change of variables [Song et al. 2021; P3 Eq. 1].

The generator that is measured draws x ~ N(0, sigma_max^2 I), as the ODE samplers do, and follows dx/dsigma =
(x - x0_hat) / sigma down to sigma_min. Its density is exact: along a path, d ln p / dsigma = -div(dx/dsigma).
There the generator stops. The samplers' last step, from sigma_min to 0, has no density and is left out: the
images are taken as they are for x at sigma_min, no noise being added to them.

Bytes become numbers by uniform dequantisation: x = (byte + u - 1/2) / 127.5 - 1 for u in (0, 1). So a byte's
bin has its level byte / 127.5 - 1, which networks were trained on, in the middle, and the 256 bins of width 1
/ 127.5 fill [-256/255, 256/255]. By Jensen, -log2 P(byte) <= E_u[-log2 p(x)] + log2(127.5). Had (byte + u) /
256 been mapped to [-1, 1], bins would be 1 / 128 wide and their middles up to half a bin off the levels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from engine.metrics.per_image import measure_images, standard_error
from engine.noise import Purpose, uniforms
from engine.records.record import JsonObject
from engine.samplers.sigma_grid import sigma_grid
from engine.samplers.steps import DenoiseFn

BINS_PER_UNIT = 127.5
"""Grey levels in a unit of images in [-1, 1]."""

RHO = 7.0
"""Warp of the noise levels, EDM's [P3 Eq. 5]."""


@dataclass(frozen=True, eq=False)
class OdeLikelihood:
    """Bits per dimension of images, and how far the solver's step length moves them."""

    values: Tensor
    """Of each image [N], float64."""
    coarse_values: Tensor
    """The same from half as many steps [N], float64."""

    @property
    def bits_per_dim(self) -> float:
        """Mean over images."""
        return float(self.values.mean())

    @property
    def stderr(self) -> float | None:
        """Standard error of the mean over images, their dequantisation and their probes;
        None for a single image."""
        return standard_error(self.values)

    @property
    def solver_error(self) -> float:
        """Mean distance of the values from the coarse ones.

        Where the steps are short enough for the method's
        fourth order to show, the error is a fifteenth of it.
        """
        return float((self.values - self.coarse_values).abs().mean())

    def to_json(self) -> JsonObject:
        """A plain dict of the means."""
        named = {"bits_per_dim": self.bits_per_dim, "stderr": self.stderr, "solver_error": self.solver_error}
        return {**named, "num_images": len(self.values)}


def ode_likelihood(
    denoiser: DenoiseFn,
    images: Tensor,
    labels: Tensor | None,
    *,
    seed: int,
    batch_size: int,
    num_steps: int = 32,
    num_probes: int = 1,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
) -> OdeLikelihood:
    """Likelihood of images uint8 [N, C, H, W] with `labels` int64 [N] or None, under a Denoiser.

    `num_steps`, an even number, of the classical Runge-Kutta method on EDM's noise levels: 6 num_steps
    evaluations per image, 2 num_steps of them for the coarse values, each with `num_probes` passes backward.
    Image i gets the same dequantisation and probes from a seed. Other denoisers that samplers take will do
    too, without labels, if autograd can differentiate them.

    Raises ValueError for an odd or no number of steps, for noise levels that do not rise, and as
    `measure_images` does.
    """
    if num_steps < 2 or num_steps % 2:
        raise ValueError(f"num_steps {num_steps} has no half: give an even number")
    if not 0 < sigma_min < sigma_max:
        raise ValueError(f"0 < sigma_min {sigma_min:g} < sigma_max {sigma_max:g} does not hold")
    *falling, _ = sigma_grid(num_steps + 1, sigma_min, sigma_max, RHO)
    sigmas = falling[::-1]

    def measure(denoise: DenoiseFn, batch: Tensor, keys: Tensor) -> Tensor:
        x = dequantised(batch, seed, keys)
        signs = torch.stack([rademacher(seed, keys, x, probe) for probe in range(num_probes)])
        fine, coarse = (log_density(denoise, x, grid, signs) for grid in (sigmas, sigmas[::2]))
        nats = torch.stack([-fine, -coarse], dim=1) / x[0].numel()
        return nats / math.log(2) + math.log2(BINS_PER_UNIT)

    values, coarse = measure_images(measure, denoiser, images, labels, batch_size=batch_size).unbind(1)
    return OdeLikelihood(values, coarse)


def dequantised(images: Tensor, seed: int, keys: Tensor) -> Tensor:
    """Images uint8 [B, C, H, W] with indices `keys` [B], spread evenly over their bytes' bins around
    to_unit's levels.

    float64, in [-256/255, 256/255].
    """
    place = uniforms(seed, Purpose.DEQUANTISATION, keys, images[0].numel()).reshape(images.shape)
    return (images.double() + place - 0.5) / BINS_PER_UNIT - 1


def rademacher(seed: int, keys: Tensor, like: Tensor, probe: int) -> Tensor:
    """Random signs in the shape and dtype of `like` [B, ...], for images with indices `keys` [B]."""
    draws = uniforms(seed, Purpose.PROBE, keys, like[0].numel(), probe).reshape(like.shape)
    return (draws < 0.5).to(like.dtype) * 2 - 1


def log_density(denoise: DenoiseFn, x: Tensor, sigmas: Sequence[float], signs: Tensor) -> Tensor:
    """ln p [B] of x [B, ...] at sigmas[0], following the ODE up the rising noise levels;
    `signs` [probes, B, ...].

    At the last level x ~ N(0, sigmas[-1]^2 I).
    """
    gained = x.new_zeros(len(x))
    for sigma, sigma_next in pairwise(sigmas):
        x, gain = runge_kutta_step(denoise, x, sigma, sigma_next, signs)
        gained = gained + gain
    z = (x / sigmas[-1]).flatten(1)
    return gained - 0.5 * z.square().sum(1) - z.shape[1] * math.log(sigmas[-1] * math.sqrt(2 * math.pi))


def runge_kutta_step(
    denoise: DenoiseFn, x: Tensor, sigma: float, sigma_next: float, signs: Tensor
) -> tuple[Tensor, Tensor]:
    """x at sigma_next and the integral of the divergence [B] over the step, to fourth order."""
    length = sigma_next - sigma
    middle = (sigma + sigma_next) / 2
    slope1, div1 = slope_and_divergence(denoise, x, sigma, signs)
    slope2, div2 = slope_and_divergence(denoise, x + length / 2 * slope1, middle, signs)
    slope3, div3 = slope_and_divergence(denoise, x + length / 2 * slope2, middle, signs)
    slope4, div4 = slope_and_divergence(denoise, x + length * slope3, sigma_next, signs)
    slope, div = (
        a + 2 * b + 2 * c + d for a, b, c, d in ((slope1, slope2, slope3, slope4), (div1, div2, div3, div4))
    )
    return x + length / 6 * slope, length / 6 * div


def slope_and_divergence(denoise: DenoiseFn, x: Tensor, sigma: float, signs: Tensor) -> tuple[Tensor, Tensor]:
    """dx/dsigma [B, ...] and an unbiased estimate of its divergence [B], both of (x - x0_hat) / sigma.

    The trace of x0_hat's Jacobian J is the mean of v . J v over random signs v [Hutchinson 1990]; `signs`
    [probes, B, ...] are the v. Where J is diagonal every v gives the trace itself.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        x0_hat = denoise(x, sigma)
        products = [
            (v * torch.autograd.grad(x0_hat, x, v, retain_graph=True)[0]).flatten(1).sum(1)
            for v in signs.unbind()
        ]
    trace = torch.stack(products).mean(0)
    return (x - x0_hat).detach() / sigma, (x[0].numel() - trace) / sigma
