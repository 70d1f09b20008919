"""Weighted regression: the exact denoiser of Gaussian data
has the loss its closed form says, for every objective."""

import pytest
import torch
from torch import Tensor, nn

from engine.denoiser import Denoiser, columns
from engine.objectives.edm import EdmObjective
from engine.objectives.flow import FlowObjective
from engine.objectives.losses.batch import Noised
from engine.objectives.registry import Objective
from engine.objectives.regression import RegressionObjective
from engine.objectives.simple import SimpleObjective
from engine.process.noise_levels import LogNormal
from engine.process.precond import Preconditioning
from engine.process.processes import DiscreteProcess, EdmProcess, VeProcess, VpProcess
from engine.process.targets import TARGETS
from engine.process.weighting import MinSnrWeight, P2Weight, SoftMinSnrWeight, target_weight

STD = 0.5
SIGMA = torch.tensor([0.05, 0.3, 1.0, 4.0, 20.0], dtype=torch.float64)

# Four pixels with all signs of x0 = +-STD and eps = +-1: their means of squares and products are exactly
# those of independent Gaussians, so the mean over the pixels of anything quadratic is its expectation.
SIGNS_OF_X0 = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)[None]
SIGNS_OF_EPS = torch.tensor([[1.0, -1.0], [1.0, -1.0]], dtype=torch.float64)[None]

OBJECTIVES_TO_TEST: list[Objective] = [
    EdmObjective(),
    EdmObjective(sigma_data=1.0),
    SimpleObjective(),
    SimpleObjective(schedule="cosine", num_timesteps=4000),
    FlowObjective(),
    FlowObjective(path="vp"),
    RegressionObjective(weighting=MinSnrWeight()),
    RegressionObjective(process=VeProcess(), target="score", weighting=P2Weight()),
    RegressionObjective(
        process=EdmProcess(), target="F", weighting=SoftMinSnrWeight(), noise_levels=LogNormal()
    ),
    *(RegressionObjective(process=VpProcess(), target=target) for target in TARGETS),
]


class ExactNet(nn.Module):
    """The output with which a denoiser is exact for N(0, STD^2) data at the noise levels it was made for."""

    def __init__(self, precond: Preconditioning, sigma: Tensor) -> None:
        super().__init__()
        self.c, self.sigma = precond(sigma), sigma

    def forward(self, x_in: Tensor, c_noise: Tensor, label: Tensor | None, augment: Tensor | None) -> Tensor:
        x = x_in.double() / columns(self.c.c_in, x_in.double())
        return columns(self.of_x, x) * x

    @property
    def of_x(self) -> Tensor:
        """The output is this times x."""
        return (STD**2 / (STD**2 + self.sigma**2) - self.c.c_skip) / self.c.c_out


def gaussian_batch(sigma: Tensor) -> Noised:
    count = len(sigma)
    return Noised(STD * SIGNS_OF_X0.expand(count, 1, 2, 2), SIGNS_OF_EPS.expand(count, 1, 2, 2), sigma)


@pytest.mark.parametrize("objective", OBJECTIVES_TO_TEST, ids=repr)
def test_the_exact_denoisers_loss_is_the_weighted_posterior_variance(objective: Objective) -> None:
    design = objective.design
    precond = Preconditioning(design.process, design.target, design.sigma_data)
    net = ExactNet(precond, SIGMA)
    loss = objective.losses(Denoiser(net, precond), gaussian_batch(SIGMA))["loss"]
    # Of x0 given x the variance is STD^2 sigma^2 / (STD^2 + sigma^2) a pixel.
    variance = STD**2 * SIGMA**2 / (STD**2 + SIGMA**2)
    expected = design.weighting(SIGMA, net.c.c_out) * variance * (4 if design.pixels == "sum" else 1)
    # The network's input and output are fp32: its output T_hat has an error of 2^-23 of its size, and T_hat -
    # T one relative to |T_hat - T|, which is the posterior deviation over c_out; squares double it. Where
    # T_hat is 0, as at F with fitting sigma_data, a few roundings of float64 are left.
    spread = STD + SIGMA
    error = 2 * 2**-23 * (net.of_x.abs() * spread) / (variance.sqrt() / net.c.c_out.abs()) + 16 * 2**-53
    assert bool(((loss / expected - 1).abs() <= 2 * error).all())
    assert float(error.max()) < 1e-4


@pytest.mark.parametrize("objective", [EdmObjective(), SimpleObjective(), FlowObjective()], ids=repr)
def test_one_per_pixel_where_the_target_has_unit_variance_and_x_says_nothing_about_it(
    objective: Objective,
) -> None:
    # EDM: at every level, where sigma_data fits.
    # L_simple and flow matching: where the image is drowned or absent.
    sigma = SIGMA if objective.kind == "edm" else torch.tensor([1e-4], dtype=torch.float64)
    design = objective.design
    precond = Preconditioning(design.process, design.target, design.sigma_data)
    loss = objective.losses(Denoiser(ExactNet(precond, sigma), precond), gaussian_batch(sigma))
    pixels = 4 if objective.kind == "edm" else 1
    # At sigma = 1e-4 the noise is lost beside the image: fp32 keeps 2^-24 / 1e-4 = 6e-4 of it.
    assert loss["loss"].tolist() == pytest.approx([pixels] * len(sigma), rel=2e-3)


def test_a_constant_error_of_the_noise_is_squared_at_every_timestep() -> None:
    objective, guess = SimpleObjective(), 0.25
    sigma = torch.tensor(DiscreteProcess().sigmas, dtype=torch.float64)[::100].contiguous()
    batch = gaussian_batch(sigma)

    class Wrong(nn.Module):
        def forward(self, *inputs: Tensor | None) -> Tensor:
            return batch.eps.float() + guess

    denoiser = Denoiser(Wrong(), Preconditioning(DiscreteProcess(), "eps"))
    # Also at sigma = 157, where x0_hat would cancel: +-1 + 0.25 is exact in fp32.
    losses = objective.losses(denoiser, batch)["loss"]
    assert losses.tolist() == pytest.approx(
        [guess**2] * len(sigma), rel=4 * 2**-53
    )  # weight 1 = sigma^2 / sigma^2


def test_edm_sums_over_pixels_and_the_others_take_the_mean() -> None:
    assert {objective.design.pixels for objective in OBJECTIVES_TO_TEST if objective.kind == "edm"} == {"sum"}
    assert {objective.design.pixels for objective in OBJECTIVES_TO_TEST if objective.kind != "edm"} == {
        "mean"
    }


class OneConvolution(nn.Module):
    """The smallest network with a rounding of each kind."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None, augment: Tensor | None) -> Tensor:
        output: Tensor = self.conv(x)
        return output

    def sizes(self, x: Tensor) -> Tensor:
        """Sum of the absolute values that the convolution adds up."""
        bias = self.conv.bias
        assert bias is not None
        return nn.functional.conv2d(x.abs(), self.conv.weight.abs(), bias.abs(), padding=1)


@pytest.mark.parametrize("objective", [EdmObjective(), SimpleObjective(), FlowObjective()], ids=repr)
def test_the_bf16_loss_differs_from_the_fp32_one_by_no_more_than_its_roundings(objective: Objective) -> None:
    design, net = objective.design, OneConvolution()
    precond = Preconditioning(design.process, design.target, design.sigma_data)
    batch = gaussian_batch(SIGMA)
    with torch.no_grad():
        full, half = (
            objective.losses(Denoiser(net, precond, precision), batch)["loss"]
            for precision in ("fp32", "bf16")
        )
        c = precond(SIGMA)
        sizes = net.sizes((columns(c.c_in, batch.x) * batch.x).float()).double()
        error = Denoiser(net, precond).output(batch.x, SIGMA, None).target.double()
    error = error - (columns(c.p, batch.x0) * batch.x0 + columns(c.q, batch.x0) * batch.eps)
    # bf16 rounds by 2^-9: the weights, the images and the bias, then the output.
    # The sum itself is kept in fp32.
    change = 4 * 2**-9 * sizes
    squares = (2 * error.abs() * change + change.square()).flatten(1)
    weight = target_weight(design.weighting, SIGMA, c.c_out)
    bound = weight * (squares.sum(1) if design.pixels == "sum" else squares.mean(1))
    assert bool(((half - full).abs() <= bound).all())
    assert not torch.equal(half, full)
