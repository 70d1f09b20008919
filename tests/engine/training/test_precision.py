"""The loss scale: growth, backoff, skipped steps, and what half precision gains by it."""

import math

import pytest
import torch
from torch import nn

from engine.config.train import GlobalNormClip, Train
from engine.training.optim import build_optimizer, optimizer_step, optimizer_tensors
from engine.training.precision import LossScaler, NonFiniteLoss, loss_scaler

CPU = torch.device("cpu")


def settings(**changes: object) -> Train:
    return Train.model_validate({"total_kimg": 10.0, "snapshot_kimg": 1.0, "lr_rampup_kimg": 0.0, **changes})


def with_gradients(net: nn.Linear, value: float) -> list[nn.Parameter]:
    for param in net.parameters():
        param.grad = torch.full_like(param, value)
    return list(net.parameters())


def test_the_scale_starts_at_two_to_the_twentieth_grows_slowly_and_halves() -> None:
    scaler = LossScaler(CPU)
    assert float(scaler.scale) == 2**20
    scaler.update(torch.tensor(0.0))
    assert math.log2(float(scaler.scale)) == pytest.approx(20.001, abs=1e-6)
    for _ in range(2):
        scaler.update(torch.tensor(1.0))
    assert math.log2(float(scaler.scale)) == pytest.approx(18.001, abs=1e-6)


def test_gradients_are_divided_by_the_scale() -> None:
    params = with_gradients(nn.Linear(3, 2), 2.0**20)
    assert float(LossScaler(CPU).unscale_and_check(params)) == 0
    assert all((param.grad == 1).all() for param in params)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("optimizer_kind", ["adam", "adamw"])
@pytest.mark.parametrize("clip", [None, GlobalNormClip(max_norm=1.0)], ids=["unclipped", "clipped"])
def test_a_step_with_a_gradient_that_is_not_finite_changes_nothing(
    bad: float, optimizer_kind: str, clip: GlobalNormClip | None
) -> None:
    train = settings(optimizer=optimizer_kind, grad_clip=clip)
    net, scaler = nn.Linear(3, 2), LossScaler(CPU)
    optimizer = build_optimizer(net.parameters(), train)
    optimizer_step(optimizer, with_gradients(net, 2.0**20), train, 0, scaler)
    weights = [param.detach().clone() for param in net.parameters()]
    moments = {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer).items()}
    params = with_gradients(net, 1.0)
    params[0].grad[0, 0] = bad
    optimizer_step(optimizer, params, train, 0, scaler)
    assert all(torch.equal(param, before) for param, before in zip(params, weights, strict=True))
    assert all(torch.equal(tensor, moments[name]) for name, tensor in optimizer_tensors(optimizer).items())
    assert scaler.state() == pytest.approx({"log2_scale": 19.001, "skipped": 1})
    optimizer_step(optimizer, with_gradients(net, 1.0), train, 0, scaler)
    assert not torch.equal(params[0], weights[0])
    assert scaler.state()["skipped"] == 0


def test_gradients_are_unscaled_before_they_are_clipped() -> None:
    """Two gradients whose unscaled norm is 5 and 0.5: only the first is clipped to 1."""
    for value, clipped in ((5.0, 1.0), (0.5, 0.5)):
        train, scaler = settings(grad_clip=GlobalNormClip(max_norm=1.0)), LossScaler(CPU)
        net = nn.Linear(1, 1, bias=False)
        params = with_gradients(net, value * 2**20)
        norm = optimizer_step(build_optimizer(params, train), params, train, 0, scaler)
        assert float(norm) == value
        assert float(params[0].grad) == pytest.approx(clipped)


def test_a_scaled_step_without_overflow_equals_the_plain_step() -> None:
    """Scaling by a power of two rounds nothing away, so even the bits agree."""
    nets, train = [], settings(grad_clip=GlobalNormClip(max_norm=1.0))
    for scaler in (None, LossScaler(CPU)):
        torch.manual_seed(0)
        net = nn.Linear(3, 2)
        optimizer = build_optimizer(net.parameters(), train)
        loss = net(torch.ones(4, 3)).square().sum()
        (loss if scaler is None else loss * scaler.scale).backward()
        optimizer_step(optimizer, list(net.parameters()), train, 0, scaler)
        nets.append(net)
    assert torch.equal(nets[0].weight, nets[1].weight)
    assert torch.equal(nets[0].bias, nets[1].bias)


def test_half_precision_loses_small_gradients_and_the_scale_saves_them() -> None:
    """A gradient of 2^-30 is below fp16's smallest number, 2^-24; times 2^20 it is well inside."""
    gradients = []
    for scaler in (None, LossScaler(CPU)):
        net = nn.Linear(1, 1, bias=False)
        with torch.autocast("cpu", dtype=torch.float16):
            output = net(torch.ones(1, 1)).float()
        loss = output.sum() * 2**-30
        (loss if scaler is None else loss * scaler.scale).backward()
        if scaler is not None:
            scaler.unscale_and_check(net.parameters())
        gradients.append(float(net.weight.grad))
    assert gradients == [0.0, 2**-30]


def test_training_stops_when_more_than_a_hundred_steps_in_a_row_are_skipped() -> None:
    scaler = LossScaler(CPU)
    for _ in range(100):
        scaler.update(torch.tensor(1.0))
    scaler.check()
    scaler.update(torch.tensor(1.0))
    with pytest.raises(NonFiniteLoss, match=r"last 101 steps.*2\^-81\.0"):
        scaler.check()
    scaler.update(torch.tensor(0.0))
    scaler.check()


def test_the_state_is_plain_numbers_and_comes_back_bit_for_bit() -> None:
    scaler, fresh = LossScaler(CPU), LossScaler(CPU)
    for found in (0.0, 0.0, 0.0, 1.0, 1.0):
        scaler.update(torch.tensor(found))
    assert all(type(value) is float for value in scaler.state().values())
    fresh.restore(scaler.state())
    assert fresh.state() == scaler.state()
    assert torch.equal(fresh.scale, scaler.scale)


def test_only_half_precision_has_a_loss_scale() -> None:
    assert isinstance(loss_scaler("fp16", CPU), LossScaler)
    assert loss_scaler("bf16", CPU) is None
    assert loss_scaler("fp32", CPU) is None
