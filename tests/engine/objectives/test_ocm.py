"""OCM, NPR and SN against posteriors known exactly."""

import itertools

import pytest
import torch
from torch import nn

from engine.denoiser import Denoiser
from engine.objectives.losses.batch import Noised
from engine.objectives.losses.covariance import OcmVariance, diagonal_estimate
from engine.objectives.losses.covariance_head import attach_head
from engine.objectives.losses.noise_moments import NprVariance, SnVariance
from engine.objectives.npr import NprObjective
from engine.objectives.ocm import OcmObjective
from engine.objectives.sn import SnObjective
from engine.process.precond import Preconditioning
from engine.process.processes import DiscreteProcess, EdmProcess, FlowProcess

pytestmark = pytest.mark.slow

OBJECTIVE = OcmObjective()
CHAIN = DiscreteProcess()
TIMESTEPS = (100, 175, 250)
SIGMAS = torch.tensor([CHAIN.sigmas[t] for t in TIMESTEPS], dtype=torch.float64)

# Four pixels of different variances, 0.2 to 1, any two of which correlate by 0.3.
STDS = torch.tensor([0.2, 0.4, 0.7, 1.0], dtype=torch.float64).sqrt()
COVARIANCE = STDS[:, None] * STDS * (0.3 + 0.7 * torch.eye(4, dtype=torch.float64))


class NonlinearNet(nn.Module):
    """A network with a dense Jacobian that is not symmetric: tanh(x W^T) U^T on four pixels."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.w, self.u = (
            torch.randn(4, 4, generator=generator, dtype=torch.float64).float() for _ in range(2)
        )

    def forward(self, x, c_noise, label=None, augment=None):
        return (torch.tanh(x.flatten(1) @ self.w.T) @ self.u.T).reshape(x.shape)


class GaussianNet(nn.Module):
    """The exact noise prediction for N(0, COVARIANCE), with features that name the timestep and the pixel.

    Features come in pairs (f, -f), one pair a group of the head's norm: the prediction first, then, for each
    timestep and pixel, 1 at that pixel at that timestep and 0 elsewhere. So a head can hold any table
    h[timestep, pixel].
    """

    feature_channels = 2 + 2 * 4 * len(TIMESTEPS)
    embedding_channels = 3
    dropout = 0.0

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.ones(3))
        self.register_buffer("predictors", torch.stack([self.predictor(sigma) for sigma in SIGMAS]).float())

    @staticmethod
    def predictor(sigma):
        """E[eps | x] = sigma (COVARIANCE + sigma^2)^-1 x, and x = x_t sqrt(1 + sigma^2)."""
        return sigma * (1 + sigma**2).sqrt() * torch.linalg.inv(COVARIANCE + sigma**2 * torch.eye(4).double())

    def features_and_embedding(self, x, c_noise, label=None, augment=None):
        return self.features(x, c_noise), x.new_ones(len(x), self.embedding_channels)

    def features(self, x, c_noise):
        at = (c_noise[:, None] == torch.tensor(TIMESTEPS)).float()
        eps_hat = torch.einsum("bt,tij,bj->bi", at, self.predictors, x.flatten(1)).reshape(x.shape)
        where = torch.eye(4).reshape(1, 1, 4, 2, 2) * at[:, :, None, None, None]
        half = torch.cat([eps_hat, where.flatten(1, 2)], dim=1)
        return torch.stack([half, -half], dim=2).flatten(1, 2)

    def readout(self, features):
        return features[:, :1]

    def forward(self, x, c_noise, label=None, augment=None):
        return self.readout(self.features(x, c_noise))


def exact_variance(sigma):
    """Diagonal of (COVARIANCE^-1 + 1 / sigma^2)^-1, as an image."""
    precision = torch.linalg.inv(COVARIANCE) + torch.eye(4).double() / sigma**2
    return torch.linalg.inv(precision).diagonal().reshape(1, 2, 2)


def gaussian_batch(generator, copies):
    """`copies` images at each noise level."""
    sigma = SIGMAS.repeat(copies)
    draws = torch.randn(2, len(sigma), 4, generator=generator, dtype=torch.float64)
    x0 = (draws[0] @ torch.linalg.cholesky(COVARIANCE).T).reshape(-1, 1, 2, 2)
    return Noised(x0.float(), draws[1].reshape(-1, 1, 2, 2).float(), sigma)


def gaussian_denoiser(head="simple", variance_model=None):
    torch.manual_seed(0)
    net = attach_head(GaussianNet(), head, in_channels=1)
    return Denoiser(net, Preconditioning(CHAIN, "eps"), variance_model=variance_model)


def trained(denoiser, steps, copies=64, objective=OBJECTIVE):
    """Adam on the head, its rate falling linearly to 0 so
    that the noise of the signs is averaged at the end."""
    params = [parameter for parameter in denoiser.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(params, lr=0.02)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        objective.losses(denoiser, gaussian_batch(generator, copies))["loss"].mean().backward()
        optimizer.step()
        schedule.step()
    return denoiser


@pytest.mark.parametrize(
    ("process", "target"),
    [(CHAIN, "eps"), (CHAIN, "v"), (CHAIN, "x0"), (EdmProcess(), "F"), (FlowProcess(), "u")],
)
def test_the_mean_over_all_signs_is_the_exact_diagonal_whatever_the_network_predicts(process, target):
    denoiser = Denoiser(NonlinearNet(), Preconditioning(process, target))
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=4)), dtype=torch.float64).reshape(
        16, 1, 2, 2
    )
    sigma = SIGMAS[1:2]
    x = torch.linspace(-1, 1, 4, dtype=torch.float64).reshape(1, 1, 2, 2)
    jacobian = torch.autograd.functional.jacobian(lambda x: denoiser(x, sigma), x).reshape(4, 4)
    exact = (
        jacobian - torch.eye(4)
    ).diagonal()  # sigma^2 d score / dx, the score being (x0_hat - x) / sigma^2
    x = x.repeat(16, 1, 1, 1).requires_grad_()
    estimates = diagonal_estimate(denoiser.output(x, sigma.repeat(16), None), x, signs).flatten(1)
    # Every term is a sum of a few fp32 products of order 1 to 10 inside the network.
    torch.testing.assert_close(estimates.mean(0), exact, rtol=0, atol=64 * 2.0**-23)
    assert estimates.std(0).min() > 0.1  # one draw is far from its mean: the test would see a wrong average
    assert not estimates.requires_grad


def test_the_estimate_is_p6s_formula_in_the_coordinates_of_the_chain():
    denoiser, batch = gaussian_denoiser(), gaussian_batch(torch.Generator().manual_seed(2), 4)
    signs = torch.where(batch.eps > 0, 1.0, -1.0)
    x = batch.x.requires_grad_()
    estimate = diagonal_estimate(denoiser.output(x, batch.sigma, None), x, signs)
    alpha_bar = (1 / (1 + batch.sigma**2)).float().reshape(-1, 1, 1, 1)
    x_t = (alpha_bar.sqrt() * batch.x).requires_grad_()
    timestep = torch.tensor(TIMESTEPS).repeat(4).float()
    score = -denoiser.net(x_t, timestep)[0] / (1 - alpha_bar).sqrt()
    (gradient,) = torch.autograd.grad((signs * score).sum(), x_t)
    # The same products of order 1 in fp32, in another order.
    torch.testing.assert_close(estimate, (1 - alpha_bar) * signs * gradient, rtol=0, atol=16 * 2.0**-23)


def test_the_loss_is_the_summed_square_of_estimate_minus_h_with_signs_of_the_global_generator():
    denoiser, batch = gaussian_denoiser(), gaussian_batch(torch.Generator().manual_seed(2), 4)
    nn.init.normal_(denoiser.net.head[-1].bias)
    torch.manual_seed(3)
    signs = torch.randint(0, 2, batch.x.shape) * 2.0 - 1
    torch.manual_seed(3)
    terms = OBJECTIVE.losses(denoiser, batch)
    x = batch.x.requires_grad_()
    output = denoiser.output(x, batch.sigma, None)
    expected = (diagonal_estimate(output, x, signs) - output.head).square().sum(dim=(1, 2, 3))
    assert set(terms) == {"loss"}
    assert terms["loss"].shape == (12,)
    assert torch.equal(terms["loss"], expected)


def test_a_step_evaluates_the_network_once():
    denoiser = gaussian_denoiser()
    OBJECTIVE.losses(denoiser, gaussian_batch(torch.Generator(), 1))
    assert denoiser.nfe == 1


@pytest.mark.parametrize("head", ["simple", "complex", "released_complex"])
def test_a_trained_head_knows_the_exact_posterior_variance_of_a_correlated_gaussian(head):
    denoiser = trained(gaussian_denoiser(head, OcmVariance()), steps=400).eval()
    batch = gaussian_batch(torch.Generator().manual_seed(4), 100)
    with torch.no_grad():
        variance = denoiser.posterior(batch.x.double(), batch.sigma).x0_variance
    exact = torch.stack([exact_variance(sigma) for sigma in SIGMAS])
    error = variance.reshape(100, 3, 1, 2, 2) / exact - 1
    # Off its mean, the sum of J_ij v_i v_j over j != i, one estimate strays by up to 0.48 of the variance. A
    # rate that falls linearly averages about a third of the 400 steps with 64 images a level, 8,500
    # estimates: 0.48 / 92 = 0.5 %. The bound is four of these; a fresh head is off by 14 to 500 %.
    assert error.mean(0).abs().max() < 0.02
    # A head sees the image too, and has learned to look away from it.
    assert error.square().mean().sqrt() < 0.02
    assert variance.dtype == torch.float64


@pytest.mark.parametrize("head", ["simple", "complex"])
def test_training_the_head_leaves_the_backbone_and_its_output_bit_for_bit(head):
    denoiser = gaussian_denoiser(head)
    batch = gaussian_batch(torch.Generator().manual_seed(4), 8)
    weights = {name: value.clone() for name, value in denoiser.net.backbone.state_dict().items()}
    before = denoiser(batch.x, batch.sigma)
    untrained = {name: value.clone() for name, value in denoiser.net.head.state_dict().items()}
    trained(denoiser, steps=3)
    assert any(
        not torch.equal(value, untrained[name]) for name, value in denoiser.net.head.state_dict().items()
    )
    after = denoiser.net.backbone.state_dict()
    assert all(torch.equal(after[name], value) for name, value in weights.items())
    assert torch.equal(denoiser(batch.x, batch.sigma), before)


def test_a_fresh_head_says_the_variance_is_sigma_squared():
    denoiser = gaussian_denoiser(variance_model=OcmVariance())
    batch = gaussian_batch(torch.Generator(), 1)
    variance = denoiser.posterior(batch.x.double(), batch.sigma).x0_variance
    assert torch.equal(variance, (SIGMAS**2).reshape(-1, 1, 1, 1).expand(3, 1, 2, 2))


def test_the_variance_is_never_negative():
    sigma, h = (
        torch.tensor([2.0], dtype=torch.float64),
        torch.tensor([-1.5, -1.0, -0.75, 0.5]).reshape(1, 1, 2, 2),
    )
    assert OcmVariance()(sigma, h).flatten().tolist() == [0.0, 0.0, 1.0, 6.0]


def test_a_network_without_a_head_is_refused():
    denoiser = Denoiser(NonlinearNet(), Preconditioning(CHAIN, "eps"), variance_model=OcmVariance())
    batch = gaussian_batch(torch.Generator(), 1)
    with pytest.raises(ValueError, match="has none"):
        OBJECTIVE.losses(denoiser, batch)
    with pytest.raises(ValueError, match="has none"):
        denoiser.posterior(batch.x, batch.sigma)


def test_a_trained_npr_head_knows_the_exact_posterior_variance_of_a_correlated_gaussian():
    denoiser = gaussian_denoiser("simple", NprVariance())
    denoiser = trained(denoiser, steps=400, objective=NprObjective()).eval()
    batch = gaussian_batch(torch.Generator().manual_seed(4), 100)
    with torch.no_grad():
        variance = denoiser.posterior(batch.x.double(), batch.sigma).x0_variance
    exact = torch.stack([exact_variance(sigma) for sigma in SIGMAS])
    error = variance.reshape(100, 3, 1, 2, 2) / exact - 1
    # A squared normal number strays from its mean by sqrt(2) of it;
    # 8,500 of them leave 1.5 %, and this is four.
    assert error.mean(0).abs().max() < 0.06


def gaussian_moments(count):
    """x, eps, the exact eps_hat and exact Cov[x0 | x] / sigma^2 of `count` images at each noise level."""
    batch = gaussian_batch(torch.Generator().manual_seed(5), count)
    denoiser = gaussian_denoiser()
    with torch.no_grad():
        eps_hat = denoiser.output(batch.x, batch.sigma, None).target
    share = torch.cat([exact_variance(sigma)[None] / sigma**2 for sigma in SIGMAS])
    return batch, eps_hat, share.repeat(count, 1, 1, 1).float()


def test_the_mean_of_what_npr_and_sn_regress_is_what_their_variances_read():
    count = 40_000
    batch, eps_hat, share = gaussian_moments(count)
    residual = (batch.eps - eps_hat).square().reshape(count, 3, 4)
    square = (batch.eps.square() - eps_hat.square()).reshape(count, 3, 4)
    for values in (residual, square):
        error = values.mean(0) - share.reshape(count, 3, 4)[0]
        assert (error.abs() < 4 * values.std(0) / count**0.5).all()  # standard errors, measured


@pytest.mark.parametrize("objective", [NprObjective(), SnObjective()], ids=lambda objective: objective.kind)
def test_a_head_that_says_the_exact_moment_gives_the_exact_variance(objective):
    batch, eps_hat, share = gaussian_moments(50)
    denoiser = gaussian_denoiser(variance_model=objective.variance_model())
    told = {"npr": share, "sn": share + eps_hat.square()}[objective.kind]
    denoiser.net.head = Says(told)
    with torch.no_grad():
        variance = denoiser.posterior(batch.x.double(), batch.sigma).x0_variance
        loss = objective.losses(denoiser, batch)["loss"]
    exact = share.double() * batch.sigma.reshape(-1, 1, 1, 1) ** 2
    # SN subtracts squares of up to 20 in fp32 from one another.
    torch.testing.assert_close(variance, exact, rtol=0, atol=64 * 20 * 2.0**-24)
    regressed = {"npr": (batch.eps - eps_hat).square(), "sn": batch.eps.square()}[objective.kind]
    torch.testing.assert_close(loss, (regressed - told).square().sum((1, 2, 3)), rtol=1e-4, atol=1e-4)


class Says(nn.Module):
    """A head that says what it is told to."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, features):
        return self.value


def test_the_variances_of_npr_and_sn_are_never_negative_and_need_what_they_need():
    sigma, h = torch.tensor([2.0]), torch.tensor([-0.5, 0.25]).reshape(1, 1, 1, 2)
    assert NprVariance()(sigma, h).flatten().tolist() == [0, 1]
    assert SnVariance()(sigma, h, torch.full_like(h, 0.25)).flatten().tolist() == [0, 4 * (0.25 - 0.0625)]
    for model in (NprVariance(), SnVariance()):
        with pytest.raises(ValueError, match="has none"):
            model(sigma, None, h)
    with pytest.raises(ValueError, match="needs the predicted noise"):
        SnVariance()(sigma, h)
