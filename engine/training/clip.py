"""Gradient clipping: four rules, and one that leaves a step out, each without waiting for the device."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from engine.config.train import AdaptiveClip, Clip, GlobalNormClip, LayerNormClip, SkipStep, ValueClip


@torch.no_grad()
def clip_gradients(params: Iterable[nn.Parameter], clip: Clip | None) -> Tensor:
    """Clip the gradients in place; returns their joint norm before clipping, as a scalar tensor.

    None clips nothing, and neither does SkipStep, which `skipped` obeys.
    Parameters without a gradient are left out.
    """
    with_gradient = [param for param in params if param.grad is not None]
    grads = [param.grad for param in with_gradient if param.grad is not None]
    norms = torch.stack(torch._foreach_norm(grads))
    total: Tensor = torch.linalg.vector_norm(norms)
    match clip:
        case GlobalNormClip():
            torch._foreach_mul_(grads, shrink_factor(total, clip.max_norm))
        case LayerNormClip():
            torch._foreach_mul_(grads, list(shrink_factor(norms, clip.max_norm).unbind()))
        case ValueClip():
            torch._foreach_clamp_min_(grads, -clip.max_value)
            torch._foreach_clamp_max_(grads, clip.max_value)
        case AdaptiveClip():
            torch._foreach_mul_(grads, adaptive_factors(with_gradient, grads, clip))
    return total


def skipped(norm: Tensor, clip: Clip | None) -> Tensor | None:
    """1.0 where a step of this gradient norm is left out, else 0.0, as a scalar tensor; None where none is.

    A norm that is not a number leaves nothing out: the loop is to see what made it.
    """
    return (norm > clip.max_norm).float() if isinstance(clip, SkipStep) else None


def shrink_factor(norm: Tensor, max_norm: Tensor | float) -> Tensor:
    """min(1, max_norm / norm): what to multiply by so that a norm is at most `max_norm`; 1 at norm 0."""
    return (max_norm / norm).clamp(max=1)


def adaptive_factors(params: list[nn.Parameter], grads: list[Tensor], clip: AdaptiveClip) -> list[Tensor]:
    """Factors of adaptive clipping for each parameter, one a unit (Brock et al. 2021, Eq. 3).

    Here every parameter is clipped; the authors leave out the last linear layer of their classifier.
    """
    limits = [unit_norm(param).clamp(min=clip.eps) * clip.ratio for param in params]
    return [shrink_factor(unit_norm(grad), limit) for grad, limit in zip(grads, limits, strict=True)]


def unit_norm(tensor: Tensor) -> Tensor:
    """Norm of each output unit's weights, [out, 1, ..., 1] for [out, in, ...];
    of the whole where there is one axis."""
    within = tuple(range(1, tensor.ndim)) if tensor.squeeze().ndim > 1 else None
    norm: Tensor = torch.linalg.vector_norm(tensor, dim=within, keepdim=within is not None)
    return norm
