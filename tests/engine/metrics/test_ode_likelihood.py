"""Likelihoods by the probability-flow ODE against exact densities, and what an image's value depends on."""

import itertools
import json
import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from engine.data.datasets import to_unit
from engine.denoiser import Denoiser
from engine.evaluation.oracle import GaussianOracle, MixtureOracle
from engine.metrics.ode_likelihood import (
    OdeLikelihood,
    dequantised,
    log_density,
    ode_likelihood,
    rademacher,
    runge_kutta_step,
    slope_and_divergence,
)
from engine.process.precond import Preconditioning
from engine.process.processes import EdmProcess
from engine.samplers.sigma_grid import sigma_grid

LOW, HIGH = 0.002, 80.0
BYTES = torch.arange(256, dtype=torch.uint8).reshape(256, 1, 1, 1)
PAIR = MixtureOracle(torch.tensor([[-0.4], [0.5]]).double(), 0.15, torch.tensor([0.3, 0.7]).double())
PLANE = MixtureOracle(
    torch.tensor([[-0.4, 0.3], [0.5, 0.4], [0.1, -0.6]]).double(), 0.3, torch.tensor([0.3, 0.5, 0.2]).double()
)


def grid(num_steps: int) -> tuple[float, ...]:
    return sigma_grid(num_steps + 1, LOW, HIGH, 7.0)[-2::-1]


def all_signs(like: Tensor) -> Tensor:
    """Every vector of signs, for every image: their mean of v . J v is the trace of J itself."""
    vectors = itertools.product([-1.0, 1.0], repeat=like[0].numel())
    return torch.stack(
        [torch.tensor(v, dtype=like.dtype).reshape(like[0].shape).expand_as(like) for v in vectors]
    )


def gaussian_log_density(x: Tensor, std: float) -> Tensor:
    """ln density [B] of the generator that starts from N(0, HIGH^2)
    and has the exact denoiser of N(0, std^2) data.

    Its ODE multiplies by a number, so it is a Gaussian too.
    """
    variance = HIGH**2 * (std**2 + LOW**2) / (std**2 + HIGH**2)
    return (-0.5 * x.square() / variance - 0.5 * math.log(2 * math.pi * variance)).flatten(1).sum(1)


def mixture_log_density(oracle: MixtureOracle, x: Tensor, sigma: float) -> Tensor:
    """ln density [B] of x = x0 + sigma eps."""
    points, means = x.flatten(1), oracle.means.flatten(1)
    variance = oracle.std**2 + sigma**2
    squares = (points[:, None] - means).square().sum(2)
    constant = 0.5 * points.shape[1] * math.log(2 * math.pi * variance)
    return (oracle.weights.log() - squares / (2 * variance)).logsumexp(1) - constant


def generator_log_density(oracle: MixtureOracle, x: Tensor) -> Tensor:
    """ln density [B] of the generator that starts from N(0, HIGH^2) and has a mixture's exact denoiser.

    Along a path ln p_sigma of the mixture falls by the divergence, so only the two ends' priors differ.
    """
    end, signs = x, torch.ones_like(x)[None]
    for levels in pairwise(grid(192)):
        end, _ = runge_kutta_step(oracle.denoise, end, *levels, signs)
    prior = (-0.5 * (end / HIGH).square() - math.log(HIGH * math.sqrt(2 * math.pi))).flatten(1).sum(1)
    return prior + mixture_log_density(oracle, x, LOW) - mixture_log_density(oracle, end, HIGH)


def in_bits(log_density: Tensor) -> Tensor:
    return -log_density / math.log(2) + math.log2(127.5)


def test_gaussian_data_have_their_exact_likelihood_within_the_solvers_error() -> None:
    measured = ode_likelihood(GaussianOracle(0.5).denoise, BYTES, None, seed=0, batch_size=256)
    expected = in_bits(gaussian_log_density(dequantised(BYTES, 0, torch.arange(256)), 0.5))
    # Of fourth order: a fifteenth of the distance between N and N / 2 steps, or nearly.
    assert float((measured.values - expected).abs().mean()) < measured.solver_error / 10
    assert measured.solver_error < 0.01


def test_a_mixture_in_one_dimension_has_its_exact_likelihood_within_the_solvers_error() -> None:
    measured = ode_likelihood(PAIR.denoise, BYTES, None, seed=0, batch_size=256, num_steps=64)
    expected = in_bits(generator_log_density(PAIR, dequantised(BYTES, 0, torch.arange(256))))
    # Of fourth order: a fifteenth of the distance between N and N / 2 steps, or nearly.
    assert float((measured.values - expected).abs().mean()) < measured.solver_error / 10
    assert measured.solver_error < 0.01


def test_a_mixture_in_two_dimensions_has_its_exact_likelihood_with_every_sign() -> None:
    axis = torch.linspace(-1, 1, 9, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    expected = generator_log_density(PLANE, x)
    fine, coarse = (log_density(PLANE.denoise, x, grid(steps), all_signs(x)) for steps in (64, 32))
    assert float((fine - expected).abs().mean()) < float((fine - coarse).abs().mean()) < 2e-2


@pytest.mark.parametrize("oracle", [GaussianOracle(0.5), PAIR], ids=["gaussian", "mixture"])
def test_the_solver_is_of_fourth_order(oracle: GaussianOracle | MixtureOracle) -> None:
    x = torch.linspace(-0.9, 0.9, 32, dtype=torch.float64).reshape(32, 1)
    signs = torch.ones_like(x)[None]
    exact = (
        gaussian_log_density(x, 0.5)
        if isinstance(oracle, GaussianOracle)
        else generator_log_density(oracle, x)
    )
    steps = (32, 64, 128)
    errors = [float((log_density(oracle.denoise, x, grid(n), signs) - exact).abs().mean()) for n in steps]
    for coarse, fine in pairwise(errors):
        assert 3.5 < math.log2(coarse / fine) < 4.5


def test_the_mean_over_all_signs_is_the_exact_divergence() -> None:
    x = torch.tensor([[0.1, -0.3], [0.4, 0.2]], dtype=torch.float64)
    slope, mean = slope_and_divergence(PLANE.denoise, x, 0.4, all_signs(x))
    jacobian = torch.autograd.functional.jacobian(
        lambda points: PLANE.denoise(points, 0.4), x
    )  # [2, dims, 2, dims]
    trace = (2 - torch.einsum("bibi->b", jacobian)) / 0.4
    torch.testing.assert_close(mean, trace, rtol=1e-13, atol=0)
    torch.testing.assert_close(slope, (x - PLANE.denoise(x, 0.4)) / 0.4, rtol=1e-15, atol=0)
    _, single = slope_and_divergence(PLANE.denoise, x, 0.4, all_signs(x)[:1])
    assert ((single - trace).abs() > 0.1).all()  # the Jacobian is not diagonal: one probe alone is off


def test_keyed_probes_are_even_signs_whose_mean_comes_to_the_exact_divergence() -> None:
    x, count = torch.tensor([[0.1, -0.3]], dtype=torch.float64), 300
    signs = torch.stack([rademacher(0, torch.tensor([7]), x, probe) for probe in range(count)])
    assert set(signs.flatten().tolist()) == {-1.0, 1.0}
    _, mean = slope_and_divergence(PLANE.denoise, x, 0.4, signs)
    _, exact = slope_and_divergence(PLANE.denoise, x, 0.4, all_signs(x))
    # In two dimensions v . J v takes two values, as far apart as the first two of all signs say.
    sides = [slope_and_divergence(PLANE.denoise, x, 0.4, v[None])[1] for v in all_signs(x)[:2]]
    assert abs(float(mean - exact)) < 5 * float((sides[0] - sides[1]).abs()) / 2 / math.sqrt(count)


def test_a_uniform_distribution_over_bytes_costs_eight_bits() -> None:
    edge = 256 / 255

    def mass(x: Tensor, sigma: float) -> Tensor:
        """P(|x0| < edge) of x0 ~ N(x, sigma^2): 2 edge times the density of x = x0 + sigma eps, x0
        uniform."""
        return torch.special.ndtr((edge - x) / sigma) - torch.special.ndtr((-edge - x) / sigma)

    def uniform(x: Tensor, sigma: float) -> Tensor:
        """E[x0 | x] of x0 uniform on the bins: the mean of a normal distribution cut off at the edges."""
        low, high = ((-edge - x) / sigma).square(), ((edge - x) / sigma).square()
        return x + sigma / math.sqrt(2 * math.pi) * ((-low / 2).exp() - (-high / 2).exp()) / mass(x, sigma)

    measured = ode_likelihood(uniform, BYTES, None, seed=0, batch_size=256, num_steps=64)
    over_the_edge = mass(dequantised(BYTES, 0, torch.arange(256)), LOW).log2().flatten()
    # The prior leaves out the data's variance 1/3: (z^2 - 1)
    # / 6 / HIGH^2 nats at most, z = 2.9 for 256 quantiles.
    tolerance = 7.4 / 6 / HIGH**2 / math.log(2) + 2 * measured.solver_error
    assert tolerance < 1e-3
    assert float((measured.values - (8 - over_the_edge)).abs().max()) < tolerance
    assert float(over_the_edge[2:-2].abs().max()) < 1e-3  # all but the outer bytes are far from the edges


def test_dequantised_bytes_fill_their_bins_around_the_levels_of_training() -> None:
    images = BYTES.reshape(1, 1, 16, 16).expand(200, 1, 16, 16)
    offset = (dequantised(images, 3, torch.arange(200)) - to_unit(images[:1])) * 127.5
    # to_unit is single precision: 127.5 * 6e-8 of a bin.
    assert float(offset.abs().max()) <= 0.5 + 1e-5
    assert float(offset.abs().max()) > 0.49
    assert abs(float(offset.mean())) < 5 * math.sqrt(1 / 12 / offset.numel())  # five standard errors
    assert float(offset.var()) == pytest.approx(1 / 12, rel=0.02)
    assert len(offset[:, 0, 0, 0].unique()) == 200


class Net(nn.Module):
    """A convolution and a sine, with labels."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None, augment: Tensor | None) -> Tensor:
        shift = 0.0 if label is None else label.float().reshape(-1, 1, 1, 1)
        return torch.sin(self.conv(x) + c_noise.reshape(-1, 1, 1, 1) + shift)


def network() -> Denoiser:
    return Denoiser(Net(), Preconditioning(EdmProcess(), "F"))


def images_of(count: int) -> Tensor:
    return torch.randint(
        0, 256, (count, 2, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def test_an_image_is_worth_the_same_in_any_company() -> None:
    images, settings = images_of(7), {"num_steps": 8, "seed": 0}
    together, few = (
        ode_likelihood(network(), part, None, batch_size=3, **settings).values
        for part in (images, images[:4])
    )
    assert torch.equal(together[:4], few)
    wide = ode_likelihood(network(), images, None, batch_size=7, **settings).values
    torch.testing.assert_close(
        together, wide, rtol=1e-5, atol=0
    )  # float32 networks may add up in another order
    other = ode_likelihood(network(), images, None, batch_size=3, num_steps=8, seed=1).values
    assert not torch.isclose(together, other, rtol=1e-5, atol=0).any()


def test_a_network_is_differentiated_whatever_the_caller_does_with_gradients() -> None:
    images, labels, denoiser = images_of(3), torch.tensor([0, 1, 2]), network()
    with torch.no_grad():
        silent = ode_likelihood(denoiser, images, labels, seed=0, batch_size=3, num_steps=4)
    assert denoiser.nfe == 6 * 4
    loud = ode_likelihood(denoiser, images, labels, seed=0, batch_size=3, num_steps=4)
    assert torch.equal(silent.values, loud.values)
    assert not loud.values.requires_grad
    assert all(weight.grad is None for weight in denoiser.parameters())
    plain = ode_likelihood(denoiser, images, None, seed=0, batch_size=3, num_steps=4)
    assert (plain.values != loud.values)[1:].all()


def test_more_probes_are_other_estimates_of_the_same_likelihood() -> None:
    images = images_of(64)
    one, many = (
        ode_likelihood(network(), images, None, seed=0, batch_size=64, num_steps=8, num_probes=probes).values
        for probes in (1, 16)
    )
    difference = one - many
    assert (difference != 0).all()
    assert (
        abs(float(difference.mean())) < 5 * float(difference.std()) / 8
    )  # five standard errors of 64 images


def test_numbers_are_means_over_images() -> None:
    found = OdeLikelihood(torch.tensor([3.0, 5.0]).double(), torch.tensor([3.1, 4.9]).double())
    assert found.bits_per_dim == 4
    assert found.stderr == pytest.approx(1)
    assert found.solver_error == pytest.approx(0.1)  # errors of both signs do not cancel
    plain = json.loads(json.dumps(found.to_json()))
    assert set(plain) == {"bits_per_dim", "stderr", "solver_error", "num_images"}
    assert (plain["bits_per_dim"], plain["num_images"]) == (4.0, 2)


def test_what_cannot_be_solved_is_refused() -> None:
    for num_steps in (0, 3):
        with pytest.raises(ValueError, match="give an even number"):
            ode_likelihood(PAIR.denoise, BYTES, None, seed=0, batch_size=4, num_steps=num_steps)
    for sigma_min in (0.0, 80.0):
        with pytest.raises(ValueError, match="does not hold"):
            ode_likelihood(PAIR.denoise, BYTES, None, seed=0, batch_size=4, sigma_min=sigma_min)
