"""Weighted regression: EDM, L_simple, flow matching and
every other corner of the design space are this one loss."""

from torch import Tensor

from engine.denoiser import Denoiser, Output, columns
from engine.objectives.design import Design
from engine.objectives.losses.batch import Noised, Terms
from engine.process.weighting import target_weight


def weighted_losses(design: Design, denoiser: Denoiser, batch: Noised) -> Terms:
    """weight(sigma) * |x0_hat - x0|^2, one value per image [P1 Eq. 14; P3 Eq. 8; 002 sections 2 and 7].

    It is computed as the error of the network's own target,
    which is exact at noise levels where x0_hat cancels.
    """
    output = denoiser.output(batch.x, batch.sigma, batch.label, batch.augment)
    return {"loss": weighted_error(design, output, batch)}


def weighted_error(design: Design, output: Output, batch: Noised) -> Tensor:
    """The weighted squared error of a network's output [B], over pixels as the design says."""
    c = output.coefficients
    error = output.target - (columns(c.p, batch.x0) * batch.x0 + columns(c.q, batch.x0) * batch.eps)
    squares = error.square().flatten(1)
    per_image = squares.sum(1) if design.pixels == "sum" else squares.mean(1)
    return target_weight(design.weighting, batch.sigma, c.c_out).to(per_image.dtype) * per_image
