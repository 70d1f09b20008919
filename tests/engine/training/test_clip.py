"""Every clipping rule against its formula, written out one number at a time."""

import math

import pytest
import torch
from torch import nn

from engine.config.train import AdaptiveClip, Clip, GlobalNormClip, LayerNormClip, ValueClip
from engine.training.clip import clip_gradients

SHAPES = [(4, 3, 3, 3), (4,), (5, 4), (1, 6), ()]


def parameters(scale: float = 1.0) -> list[nn.Parameter]:
    """Parameters of many shapes whose gradients are `scale` times standard normal numbers, and one without
    gradient."""
    generator = torch.Generator().manual_seed(0)
    params = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    for param in params:
        param.grad = scale * torch.randn(param.shape, generator=generator)
    return [*params, nn.Parameter(torch.ones(2))]


def norm(values: list[float]) -> float:
    return math.sqrt(sum(value * value for value in values))


def expected(params: list[nn.Parameter], clip: Clip) -> list[torch.Tensor]:
    """Clipped gradients by plain loops over numbers."""
    grads = [param.grad.clone() for param in params[:-1]]
    total = norm([value for grad in grads for value in grad.flatten().tolist()])
    for param, grad in zip(params, grads, strict=False):
        if clip.kind == "global_norm":
            grad *= min(1, clip.max_norm / total)
        elif clip.kind == "layer_norm":
            grad *= min(1, clip.max_norm / norm(grad.flatten().tolist()))
        elif clip.kind == "value":
            clamped = [min(max(value, -clip.max_value), clip.max_value) for value in grad.flatten().tolist()]
            grad.copy_(torch.tensor(clamped).view_as(grad))
        else:
            whole = param.ndim <= 1 or param.shape[0] == 1
            for weights, unit in [(param, grad)] if whole else zip(param, grad, strict=True):
                limit = clip.ratio * max(norm(weights.flatten().tolist()), clip.eps)
                unit *= min(1, limit / norm(unit.flatten().tolist()))
    return grads


@pytest.mark.parametrize(
    "clip",
    [
        GlobalNormClip(max_norm=1.5),
        LayerNormClip(max_norm=1.5),
        ValueClip(max_value=0.3),
        AdaptiveClip(ratio=0.5),
        AdaptiveClip(ratio=0.01, eps=2.5),
    ],
    ids=lambda clip: clip.kind,
)
def test_each_rule_equals_its_formula(clip: Clip) -> None:
    params = parameters()
    wanted = expected(params, clip)
    assert any(not torch.equal(grad, param.grad) for grad, param in zip(wanted, params, strict=False))
    clip_gradients(params, clip)
    for grad, param in zip(wanted, params, strict=False):
        # A norm of 108 squares and one product round about ten times: 10 x 2^-24 of each number.
        torch.testing.assert_close(param.grad, grad, rtol=10 * 2**-24, atol=0)


@pytest.mark.parametrize(
    "clip",
    [
        None,
        GlobalNormClip(max_norm=1e3),
        LayerNormClip(max_norm=1e3),
        ValueClip(max_value=1e3),
        AdaptiveClip(ratio=1e3),
    ],
    ids=lambda clip: clip.kind if clip else "none",
)
def test_small_gradients_are_left_alone_and_the_norm_is_reported(clip: Clip | None) -> None:
    params, untouched = parameters(), parameters()
    total = clip_gradients(params, clip)
    wanted = norm([value for param in untouched[:-1] for value in param.grad.flatten().tolist()])
    assert float(total) == pytest.approx(wanted, rel=1e-6)
    for param, before in zip(params[:-1], untouched[:-1], strict=True):
        assert torch.equal(param.grad, before.grad)
    assert params[-1].grad is None


def test_the_norm_is_that_before_clipping() -> None:
    before, after = (
        clip_gradients(parameters(), None),
        clip_gradients(parameters(), GlobalNormClip(max_norm=0.1)),
    )
    assert torch.equal(before, after)


def test_zero_gradients_stay_zero() -> None:
    for clip in (GlobalNormClip(max_norm=1.0), LayerNormClip(max_norm=1.0), AdaptiveClip()):
        params = parameters(scale=0.0)
        assert float(clip_gradients(params, clip)) == 0
        assert all(not param.grad.any() for param in params[:-1])


def test_adaptive_clipping_lets_a_unit_that_starts_at_zero_learn() -> None:
    weight = nn.Parameter(torch.zeros(2, 3))
    weight.grad = torch.ones(2, 3)
    clip_gradients([weight], AdaptiveClip(ratio=0.01, eps=1e-3))
    assert weight.grad.norm(dim=1).tolist() == pytest.approx([1e-5, 1e-5])
