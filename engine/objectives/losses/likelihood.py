"""Likelihoods of Gaussians in nats: of 8-bit images, and the divergence of one Gaussian from another."""

import math

import torch
from torch import Tensor

from engine.process.decoder import NormalCdfName

HALF_BIN = 1 / 255
"""Half the distance between neighbouring grey levels of images in [-1, 1]."""


LEAST_PROBABILITY = 1e-12
"""What released code counts smaller probabilities as."""


def discretised_nll(
    x0: Tensor, mean: Tensor, log_variance: Tensor, normal: NormalCdfName = "exact"
) -> Tensor:
    """-ln P(x0) of every pixel under N(mean, variance) integrated over the pixel's grey level; nats [P1 2.1].

    `x0` holds the 256 levels byte / 127.5 - 1; the darkest bin reaches to -infinity, the brightest to
    +infinity. All tensors have one shape. With the exact distribution function the far tails keep their value
    and their gradient; `tanh` is the released programs' [engine.process.decoder].
    """
    inverse_std = (-0.5 * log_variance).exp()
    offset = (x0 - mean) * inverse_std
    half = HALF_BIN * inverse_std
    if normal == "tanh":
        return _tanh_nll(x0, offset, half)
    # P(a < z < b) = P(-b < z < -a): taking the bin on the negative side keeps both ends' logarithms precise.
    log_below = torch.special.log_ndtr(half - offset.abs())
    log_gap = torch.special.log_ndtr(-half - offset.abs()) - log_below
    log_probability = log_below + (-log_gap.expm1()).log()
    darkest, brightest = torch.special.log_ndtr(offset + half), torch.special.log_ndtr(half - offset)
    return -torch.where(x0 < -0.999, darkest, torch.where(x0 > 0.999, brightest, log_probability))


def _tanh_nll(x0: Tensor, offset: Tensor, half: Tensor) -> Tensor:
    """The same by the tanh approximation; the outermost bins are open and not cut from each other."""
    above = _tanh_cdf(offset + half)
    below = _tanh_cdf(offset - half)
    probability = torch.where(x0 < -0.999, above, torch.where(x0 > 0.999, 1 - below, above - below))
    return -probability.clamp(min=LEAST_PROBABILITY).log()


def _tanh_cdf(z: Tensor) -> Tensor:
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def gaussian_kl(mean1: Tensor, log_variance1: Tensor, mean2: Tensor, log_variance2: Tensor) -> Tensor:
    """KL(N(mean1, variance1) || N(mean2, variance2)) of every entry, in nats; tensors broadcast.

    The variances enter by their ratio, so that nearly equal ones lose no digits.
    """
    log_ratio = log_variance1 - log_variance2
    return 0.5 * (log_ratio.expm1() - log_ratio + (mean1 - mean2).square() * (-log_variance2).exp())
