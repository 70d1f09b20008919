"""iDDPM's objectives with a learned reverse variance:
L_hybrid and L_vlb [P1 Eq. 4-7, 14-16; playbook 2.8, 3.0-3.3].

The bound is L_vlb = sum_t L_t over the chain's T timesteps, in bits per dimension: L_0 is the cost of the
8-bit pixels, L_t that of the reverse step from t to t-1. The term of the prior is left out: nothing that is
trained changes it. With t drawn uniformly, T L_t is an unbiased estimate of L_vlb, and `vlb` is that value
for every image. With t drawn otherwise, every term is to be multiplied by 1 / (T p_t).
"""

import math
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from engine.denoiser import Denoiser, Output, columns
from engine.objectives.design import chain as chain_of
from engine.objectives.hybrid import HybridObjective
from engine.objectives.losses.batch import Noised, Terms
from engine.objectives.losses.likelihood import discretised_nll, gaussian_kl
from engine.objectives.losses.weighted_error import weighted_error
from engine.objectives.vlb import VlbObjective
from engine.process.covariance import reverse_betas
from engine.process.processes import DiscreteProcess
from engine.process.schedules import alpha_bars


def hybrid_losses(objective: HybridObjective, denoiser: Denoiser, batch: Noised) -> Terms:
    """loss = simple + objective.vlb_weight * vlb, with vlb = T L_t;
    the bound teaches the variance alone [P1 Eq. 16].

    Released codes disagree on the weight. Here, as in iDDPM's, vlb_weight 0.001 multiplies the whole sum T
    L_t; ADM and DiT add 1 * L_t. At T = 1000 that is the same; at T = 4000 theirs is a quarter of this one.
    """
    output = denoiser.output(batch.x, batch.sigma, batch.label, batch.augment)
    simple = weighted_error(objective.design, output, batch)
    vlb = _bound_estimate(objective, output, _x0_error(output, batch).detach(), batch)
    return {"loss": simple + objective.vlb_weight * vlb, "simple": simple, "vlb": vlb}


def vlb_losses(objective: VlbObjective, denoiser: Denoiser, batch: Noised) -> Terms:
    """loss = vlb = T L_t, which teaches mean and variance; `simple` is only watched [P1 Eq. 4]."""
    output = denoiser.output(batch.x, batch.sigma, batch.label, batch.augment)
    vlb = _bound_estimate(objective, output, _x0_error(output, batch), batch)
    with torch.no_grad():
        simple = weighted_error(objective.design, output, batch)
    return {"loss": vlb, "simple": simple, "vlb": vlb}


def warmup_losses(objective: HybridObjective | VlbObjective, denoiser: Denoiser, batch: Noised) -> Terms:
    """loss = simple, the mean alone; `vlb` is only watched,
    so that curves have one set of names [playbook 3.3]."""
    output = denoiser.output(batch.x, batch.sigma, batch.label, batch.augment)
    simple = weighted_error(objective.design, output, batch)
    with torch.no_grad():
        vlb = _bound_estimate(objective, output, _x0_error(output, batch), batch)
    return {"loss": simple, "simple": simple, "vlb": vlb}


def bound_terms(
    chain: DiscreteProcess, timestep: Tensor, x0: Tensor, x0_error: Tensor, fraction: Tensor
) -> Tensor:
    """L_t of every image [B], bits per dimension: KL(q(x_{t-1} | x_t, x0) || p) for t > 0, -log2 p(x0 | x_0)
    at t = 0.

    Timesteps count from 0, so that x_0 already has a little noise: it is the papers'
    x_1. `timestep` int64 [B]; `x0`, 8-bit images in [-1, 1], `x0_error` = x0_hat -
    x0, and `fraction`, the network's v: all [B, C, H, W]. The variance of p is exp
    of the line from ln(beta_tilde) at v = -1 to ln(beta) at v = 1, not clamped.

    For t > 0 everything is measured in standard deviations of q. There the means lie sqrt(SNR_{t-1} - SNR_t)
    x0_error apart, and only the ratio of the variances counts, so single precision serves at every timestep.
    """
    gain, span, log_variance0 = bound_tables(chain)
    first = (timestep == 0).reshape(-1, *[1] * (x0.ndim - 1))
    share = (fraction + 1) / 2
    log_ratio = share * columns(_take(span, timestep), x0)
    kl = gaussian_kl(
        columns(_take(gain, timestep), x0) * x0_error, x0.new_zeros(()), x0.new_zeros(()), log_ratio
    )
    # Later timesteps' errors can be huge: they are hidden from
    # the decoder, whose gradient would not be finite there.
    mean = x0 + x0_error.where(first, 0.0)
    nll = discretised_nll(x0, mean, log_variance0 + log_ratio)
    return nll.where(first, kl).flatten(1).mean(1) / math.log(2)


@lru_cache(maxsize=16)
def bound_tables(chain: DiscreteProcess) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """sqrt(SNR_{t-1} - SNR_t) and ln(beta_t / beta_tilde_t)
    of every timestep, and the smallest ln variance at t = 0.

    beta_tilde_0 would be 0; it is replaced by beta_tilde_1 [P1 code].
    The first gain is 0: no step leads from t = 0.
    """
    bars = alpha_bars(chain.schedule, chain.num_timesteps, chain.zero_terminal_snr)
    steps = [(reverse_betas(after, before), before, after) for before, after in pairwise(bars)]
    gain = (math.sqrt(before / (1 - before) - after / (1 - after)) for _, before, after in steps)
    span = (math.log(beta / beta_tilde) for (beta, beta_tilde), _, _ in steps)
    log_variance0 = math.log(steps[0][0][1])
    return (0.0, *gain), (math.log(1 - bars[0]) - log_variance0, *span), log_variance0


def _x0_error(output: Output, batch: Noised) -> Tensor:
    """x0_hat - x0 [B, C, H, W]: c_out times the error of the
    network's target, which cancels nothing at low noise."""
    c = output.coefficients
    target = columns(c.p, batch.x0) * batch.x0 + columns(c.q, batch.x0) * batch.eps
    return columns(c.c_out, batch.x0) * (output.target - target)


def _bound_estimate(
    objective: HybridObjective | VlbObjective, output: Output, error: Tensor, batch: Noised
) -> Tensor:
    if output.variance is None:
        raise ValueError(f"objective {objective.kind} needs twice as many output channels as images have")
    chain = chain_of(objective.schedule, objective.num_timesteps)
    terms = bound_terms(chain, chain.timestep(batch.sigma), batch.x0, error, output.variance)
    return chain.num_timesteps * terms


def _take(table: tuple[float, ...], timestep: Tensor) -> Tensor:
    return torch.tensor(table, dtype=torch.float64, device=timestep.device)[timestep]
