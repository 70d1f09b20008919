"""What the protocol measures without images, in network evaluations: likelihoods and the loss's gap."""

from collections.abc import Sequence

from engine.config.experiment import EvaluationProtocol
from engine.samplers.base import SamplerBase

GRADIENT = 3
"""A network evaluation with its gradient, in evaluations."""

ODE_EVALUATIONS = 6
"""Evaluations a step of the likelihood's ODE: four of Runge-Kutta, and again with half as many steps."""


def bound_evaluations(samplers: Sequence[SamplerBase], protocol: EvaluationProtocol) -> int:
    """Images times evaluations of the variational bounds, one for each DDPM sampler."""
    rule = protocol.likelihood
    if rule is None:
        return 0
    bounded = (sampler.nfe for sampler in samplers if sampler.as_ddpm() and sampler.guidance == 1)
    return _padded(rule.num_images, protocol.batch_size) * sum(bounded)


def shared_model_evaluations(samplers: Sequence[SamplerBase], protocol: EvaluationProtocol) -> int:
    """Images times evaluations that a snapshot's cells share: the ODE's likelihood, the loss's levels."""
    found = 0
    rule = protocol.likelihood
    gap = protocol.loss_gap
    if rule is not None and any(sampler.deterministic and sampler.guidance == 1 for sampler in samplers):
        images = _padded(rule.num_images, protocol.batch_size)
        found += images * rule.ode_steps * ODE_EVALUATIONS * GRADIENT
    if gap is not None:
        found += gap.num_levels * _padded(gap.num_draws, protocol.batch_size)
    return found


def _padded(count: int, batch_size: int) -> int:
    """Images really evaluated: the last batch is padded."""
    return -(-count // batch_size) * batch_size
