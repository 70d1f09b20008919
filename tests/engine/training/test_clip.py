"""Every clipping rule against its formula, written out one number at a time."""

import math

import pytest
import torch
from torch import nn

from engine.config.train import AdaptiveClip, Clip, GlobalNormClip, LayerNormClip, SkipStep, Train, ValueClip
from engine.training.clip import clip_gradients
from engine.training.optim import build_optimizer, optimizer_step, optimizer_tensors
from engine.training.precision import LossScaler

SHAPES = [(4, 3, 3, 3), (4,), (5, 4), (1, 6), ()]


def parameters(scale: float = 1.0) -> list[nn.Parameter]:
    """Parameters of many shapes whose gradients are `scale`
    times standard normal numbers, and one without gradient."""
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


def one_step(norm: float, precision: str = "fp32") -> tuple[nn.Parameter, dict[str, torch.Tensor]]:
    """A weight of 1 and Adam's state after a first step
    whose gradient has this norm, where 2 is the largest."""
    train = Train(
        total_kimg=1,
        snapshot_kimg=1,
        optimizer="adamw",
        weight_decay=0.1,
        lr=0.5,
        lr_rampup_kimg=0,
        grad_clip=SkipStep(max_norm=2.0),
    )
    weight = nn.Parameter(torch.ones(4))
    optimizer = build_optimizer([weight], train)
    scaler = LossScaler(torch.device("cpu")) if precision == "fp16" else None
    weight.grad = torch.full((4,), norm / 2)
    if scaler is not None:
        weight.grad *= scaler.scale
    reported = optimizer_step(optimizer, [weight], train, 1000, scaler)
    assert float(reported) == pytest.approx(norm, nan_ok=True)
    return weight, optimizer_tensors(optimizer)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("norm", [2.0, 1.0])
def test_gradients_below_the_limit_are_not_changed(norm: float, precision: str) -> None:
    weight, state = one_step(norm, precision)
    # AdamW's first step: the weight decays by lr * 0.1, and moves by lr against the gradient's sign.
    torch.testing.assert_close(weight.detach(), torch.full((4,), 1 * (1 - 0.05) - 0.5), rtol=1e-6, atol=0)
    torch.testing.assert_close(state["0.exp_avg"], torch.full((4,), 0.1 * norm / 2), rtol=1e-6, atol=0)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_step_above_the_largest_norm_leaves_weights_and_moments_as_they_are(precision: str) -> None:
    weight, state = one_step(2.001, precision)
    assert torch.equal(weight.detach(), torch.ones(4))
    assert float(state["0.step"]) == 0
    assert not state["0.exp_avg"].any()
    assert not state["0.exp_avg_sq"].any()


def test_a_norm_that_is_no_number_skips_nothing_so_that_the_loop_sees_it() -> None:
    weight, _ = one_step(math.nan)
    assert weight.isnan().all()
