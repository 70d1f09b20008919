"""The budget of a DyDiT: its schedule, its penalty and
gradient, and the complete network's loss of the warm-up."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.backbones.dydit.budget import budget_losses, target_ratio
from engine.backbones.dydit.config import DyDit
from engine.backbones.dydit.network import DyDitNet
from engine.build import build_denoiser, build_network
from engine.config.experiment import Data, EvaluationProtocol, Experiment
from engine.config.train import Train
from engine.denoiser import Denoiser
from engine.objectives.edm import EdmObjective
from engine.objectives.flow import FlowObjective
from engine.objectives.losses.batch import Terms
from engine.objectives.registry import Objective
from engine.objectives.simple import SimpleObjective
from engine.samplers.heun import Heun
from engine.training.step import LossModel

MODEL = DyDit(depth=1, width=16, num_heads=2, patch_size=4, flops_ratio=0.4, dense_kimg=1, ramp_kimg=10)
RATIO = torch.tensor([0.5, 0.75, 0.7])
"""What a pass executes of each image; the mean is 0.65."""


def denoiser(model: DyDit, objective: Objective | None = None) -> tuple[Denoiser, DyDitNet, Experiment]:
    experiment = Experiment(
        data=Data(name="digits"),
        model=model,
        objective=objective or SimpleObjective(num_timesteps=20),
        train=Train(total_kimg=1, snapshot_kimg=1),
        sample=Heun(num_steps=2),
        eval=EvaluationProtocol(num_samples=16),
    )
    net = build_network(experiment)
    assert isinstance(net, DyDitNet)
    return build_denoiser(experiment, net), net, experiment


def passes(net: DyDitNet, ratio: Tensor, seen: list[bool]) -> Callable[[], Terms]:
    """Stands for a loss: one pass that executes `ratio`,
    and a loss of 1 for the complete network, else of 3."""

    def losses() -> Terms:
        seen.append(net.is_complete)
        if not net.is_complete:
            net.tell(ratio)
        return {"loss": torch.full((3,), 1.0 if net.is_complete else 3.0), "simple": torch.zeros(3)}

    return losses


@pytest.mark.parametrize(
    ("images_shown", "target"),
    [(0, 1.0), (1_000, 1.0), (1_001, 0.99994), (6_000, 0.7), (11_000, 0.4), (11_001, 0.4), (10**9, 0.4)],
)
def test_the_target_stays_at_one_then_falls_linearly_and_stays(images_shown: int, target: float) -> None:
    assert target_ratio(MODEL, images_shown) == pytest.approx(target, rel=1e-15)


@pytest.mark.parametrize(
    ("step", "target"),
    [(0, 1.0), (99, 1.0), (100, 0.95), (600, 0.70), (1_000, 0.50), (1_100, 0.50), (50_000, 0.50)],
)
def test_the_released_ramp_gives_the_numbers_of_the_released_code(step: int, target: float) -> None:
    model = DyDit(flops_ratio=0.5, ramp="released")
    assert target_ratio(model, 256 * step) == pytest.approx(target, rel=1e-12)


@pytest.mark.parametrize(("step", "target"), [(100, 1.0), (600, 0.75), (1_000, 0.55), (1_100, 0.50)])
def test_a_ramp_after_the_dense_part_meets_the_budget_a_hundred_steps_later(step: int, target: float) -> None:
    assert target_ratio(DyDit(flops_ratio=0.5), 256 * step) == pytest.approx(target, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "images_shown", "target"),
    [
        ({"ramp_kimg": 0.0}, 1_000, 1.0),
        ({"ramp_kimg": 0.0}, 1_001, 0.4),
        ({"dense_kimg": 0.0}, 0, 1.0),
        ({"dense_kimg": 0.0}, 5_000, 0.7),
        ({"flops_ratio": 1.0}, 10**6, 1.0),
    ],
)
def test_a_schedule_may_lack_either_part(changes: dict[str, Any], images_shown: int, target: float) -> None:
    assert target_ratio(MODEL.model_copy(update=changes), images_shown) == pytest.approx(target, rel=1e-15)


@pytest.mark.parametrize(("images_shown", "target"), [(0, 1.0), (6_000, 0.7), (11_000, 0.4)])
def test_the_penalty_is_the_squared_distance_of_the_mean_and_has_its_gradient(
    images_shown: int, target: float
) -> None:
    """Numbers are fp32 of about 1, and the penalty is a difference of two: 1e-6 is a few roundings."""
    ratio = RATIO.clone().requires_grad_()
    model = MODEL.model_copy(update={"flops_weight": 5.0})
    seer, net, _ = denoiser(model)
    terms = budget_losses(model, passes(net, ratio, []), seer.net, images_shown, pixels=3)
    assert terms["diffusion"].tolist() == [3, 3, 3]
    torch.testing.assert_close(
        terms["loss"], torch.full((3,), 3 + 15 * (0.65 - target) ** 2), rtol=1e-6, atol=0
    )
    terms["loss"].mean().backward()
    assert ratio.grad is not None
    torch.testing.assert_close(ratio.grad, torch.full((3,), 15 * 2 * (0.65 - target) / 3), rtol=0, atol=1e-6)
    assert torch.equal(terms["flops_ratio"], RATIO)
    assert not terms["flops_ratio"].requires_grad
    assert "simple" in terms
    assert "complete" not in terms


def test_the_complete_networks_loss_is_there_in_the_warm_up_and_gone_after() -> None:
    model = MODEL.model_copy(update={"complete_kimg": 5.0, "dense_kimg": 100.0})
    seer, net, _ = denoiser(model)
    for images_shown, complete, expected_passes in [
        (0, 1.0, [False, True]),
        (4_999, 1.0, [False, True]),
        (5_000, 0.0, [False]),
        (10**6, 0.0, [False]),
    ]:
        seen: list[bool] = []
        terms = budget_losses(model, passes(net, torch.ones(3), seen), seer.net, images_shown, pixels=1)
        assert seen == expected_passes
        assert terms["complete"].tolist() == [complete] * 3
        assert torch.equal(
            terms["loss"] - terms["diffusion"], terms["complete"] + (images_shown > 10**5) * 0.72
        )
    assert not net.is_complete


@pytest.mark.parametrize(
    ("objective", "pixels"), [(EdmObjective(), 64), (FlowObjective(), 1), (SimpleObjective(), 1)]
)
def test_a_loss_that_sums_over_pixels_has_a_penalty_for_each(objective: Objective, pixels: int) -> None:
    seer, _, experiment = denoiser(MODEL.model_copy(update={"dense_kimg": 0.0, "ramp_kimg": 0.0}), objective)
    torch.manual_seed(0)
    x0, eps, sigma = (
        torch.randn(4, 1, 8, 8),
        torch.randn(4, 1, 8, 8),
        torch.full((4,), 0.5, dtype=torch.float64),
    )
    terms = LossModel(experiment, seer)(x0, eps, sigma, None, None, 1)
    # A fresh network executes everything; the difference of two losses below 100 is right to 100 * 2^-24.
    penalty = torch.full((4,), pixels * 2.0 * (1 - 0.4) ** 2)
    torch.testing.assert_close(terms["loss"] - terms["diffusion"], penalty, rtol=0, atol=100 * 2.0**-24)


def test_a_step_teaches_the_routers_by_both_losses() -> None:
    seer, net, experiment = denoiser(MODEL.model_copy(update={"width": 64}))
    torch.manual_seed(0)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x0, eps, sigma = (
        torch.randn(4, 1, 8, 8),
        torch.randn(4, 1, 8, 8),
        torch.full((4,), 0.5, dtype=torch.float64),
    )
    terms = LossModel(experiment, seer)(x0, eps, sigma, None, None, 11_000)
    routers = [parameter for name, parameter in net.named_parameters() if "router" in name]
    for part in (terms["diffusion"], terms["loss"] - terms["diffusion"]):
        gradients = torch.autograd.grad(part.mean(), routers, retain_graph=True)
        assert all(gradient.count_nonzero() > 0 for gradient in gradients)
