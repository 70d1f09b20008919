"""The multilayer perceptron takes points and images, and learns the denoiser of points in the plane."""

import pytest
import torch
from torch import Tensor

from engine.backbones.flops import forward_cost
from engine.backbones.mlp.config import Mlp
from engine.backbones.mlp.network import MlpNet
from engine.backbones.shape import NetShape
from engine.denoiser import Denoiser
from engine.evaluation.oracle import EmpiricalOracle
from engine.evaluation.toy import eight_gaussians
from engine.objectives.flow import FlowObjective
from engine.objectives.losses.batch import Noised
from engine.process.precond import Preconditioning

pytestmark = pytest.mark.slow

PLANE = NetShape(resolution=1, in_channels=2, num_classes=0)


def points() -> Tensor:
    """Eight Gaussians as images [512, 2, 1, 1], float64."""
    return eight_gaussians()[:, :, None, None]


def learned_denoiser(data: Tensor, steps: int = 400, batch: int = 256) -> Denoiser:
    """The perceptron after a short training by flow matching on points [N, 2, 1, 1]."""
    torch.manual_seed(0)
    objective, net = FlowObjective(), MlpNet(Mlp(width=64, depth=2), PLANE)
    design = objective.design
    denoiser = Denoiser(net, Preconditioning(design.process, design.target, design.sigma_data))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x0 = data[torch.randint(len(data), (batch,))]
        sigma = design.noise_levels.sigma(
            (torch.randperm(batch) + torch.rand(batch).double()) / batch, design.process
        )
        losses = objective.losses(denoiser, Noised(x0, torch.randn_like(x0), sigma))
        optimizer.zero_grad()
        losses["loss"].mean().backward()
        optimizer.step()
        schedule.step()
    return denoiser


def linear_denoiser(data: Tensor, x: Tensor, sigma: float) -> Tensor:
    """The best linear estimate of x0, with the data's covariance C: C (C + sigma^2)^-1 x. Their mean is 0."""
    covariance = data.flatten(1).T.cov(correction=0)
    gain = torch.linalg.solve(covariance + sigma**2 * torch.eye(2, dtype=data.dtype), covariance)
    estimate: Tensor = x.flatten(1) @ gain
    return estimate.reshape(x.shape)


def test_it_learns_the_exact_denoiser_of_points_in_the_plane() -> None:
    data = points()
    denoiser = learned_denoiser(data.float())
    for sigma in (0.5, 1.0):
        x0 = data.repeat(8, 1, 1, 1)
        x = x0 + sigma * torch.randn_like(x0)
        exact = EmpiricalOracle(data).denoise(x, sigma)
        with torch.no_grad():
            learned = (denoiser(x, sigma) - exact).square().mean()
            linear = (linear_denoiser(data, x, sigma) - exact).square().mean()
        # A denoiser's mean squared error is the exact one's plus its squared distance from it. Gaussians of
        # standard deviation 0.14 that are 1.1 apart can in part be told apart at these levels, which no
        # linear map does: of its excess error nine tenths must go.
        assert learned < 0.1 * linear


def test_the_output_is_zero_and_every_block_the_identity_at_first() -> None:
    torch.manual_seed(0)
    net, features = MlpNet(Mlp(), PLANE), torch.randn(5, 128)
    assert torch.equal(net(points()[:5].float(), torch.zeros(5)), torch.zeros(5, 2, 1, 1))
    for block in net.blocks:
        assert torch.equal(block(features, torch.randn(5, 128)), features)


@pytest.mark.parametrize("shape", [PLANE, NetShape(8, 1, 10), NetShape(4, 3, 10, learned_variance=True)])
def test_images_of_any_shape_will_do(shape: NetShape) -> None:
    net = MlpNet(Mlp(width=16, depth=1), shape)
    images = torch.randn(3, shape.in_channels, shape.resolution, shape.resolution)
    assert net(images, torch.zeros(3)).shape == (3, shape.out_channels, shape.resolution, shape.resolution)


@pytest.mark.parametrize(
    ("width", "divisor", "divided"), [(128, 1, 128), (128, 8, 16), (3, 1, 3), (128, 1000, 4)]
)
def test_a_width_is_as_written_or_divided_but_at_least_4(width: int, divisor: int, divided: int) -> None:
    assert MlpNet(Mlp(width=width, width_divisor=divisor), PLANE).first.out_features == divided


def test_the_default_for_points_has_as_many_parameters_as_counted_by_hand() -> None:
    embedding = 256 * 128 + 128 + 128 * 128 + 128
    block = 3 * (128 * 128 + 128) + 2 * 128
    total = embedding + (2 * 128 + 128) + 4 * block + 2 * 128 + (128 * 2 + 2)
    assert forward_cost(Mlp(), PLANE).params == total
    assert sum(parameter.numel() for parameter in MlpNet(Mlp(), PLANE).parameters()) == total
