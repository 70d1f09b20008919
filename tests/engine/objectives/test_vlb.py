"""The bound on Gaussian data against its closed form,
and which part of the network each objective teaches."""

import math

import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

from engine.backbones.shape import NetShape
from engine.backbones.unet.config import UNet
from engine.data.datasets import load_images, to_unit
from engine.denoiser import Denoiser
from engine.objectives.hybrid import HybridObjective
from engine.objectives.losses.batch import Noised, Terms
from engine.objectives.losses.bound import bound_terms
from engine.objectives.vlb import VlbObjective
from engine.process.precond import Preconditioning
from engine.process.processes import DiscreteProcess
from engine.process.schedules import ScheduleName, alpha_bars

STD = 0.5
CHAINS = [("linear", 1000), ("cosine", 1000), ("cosine", 4000), ("linear", 50)]


class GaussianNet(nn.Module):
    """The best eps_hat for x0 ~ N(0, STD^2), off by `bias`, and one v for all pixels;
    sees x_t and the timestep."""

    def __init__(self, chain: DiscreteProcess, v: float, bias: float = 0.0) -> None:
        super().__init__()
        self.chain = chain
        self.v = nn.Parameter(torch.tensor(v))
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None, augment: Tensor | None) -> Tensor:
        timestep = (c_noise * self.chain.num_timesteps / 1000).round().long()
        bar = torch.tensor(alpha_bars(self.chain.schedule, self.chain.num_timesteps))[timestep][
            :, None, None, None
        ]
        eps_hat = (1 - bar).sqrt() / (1 - bar + bar * STD**2) * x.double() + self.bias
        return torch.cat([eps_hat, self.v.expand_as(eps_hat)], dim=1).float()


def gaussian_batch(chain: DiscreteProcess, timestep: int, count: int) -> Noised:
    """`count` images of 2 x 4 x 4 Gaussian pixels, noised to one timestep."""
    generator = torch.Generator().manual_seed(timestep)
    x0, eps = torch.randn(2, count, 2, 4, 4, generator=generator)
    return Noised(STD * x0, eps, torch.full((count,), chain.sigmas[timestep], dtype=torch.float64))


def terms_of(kind: str, net: GaussianNet, batch: Noised) -> Terms:
    chain = net.chain
    kinds = {"hybrid": HybridObjective, "vlb": VlbObjective}
    objective = kinds[kind](schedule=chain.schedule, num_timesteps=chain.num_timesteps)
    return objective.losses(Denoiser(net, Preconditioning(chain, "eps")), batch)


def textbook(chain: DiscreteProcess, t: int) -> tuple[float, float, float, float]:
    """beta, beta_tilde, the posterior's factor of x0, and Var[x_{t-1} | x_t] for Gaussian data [P1 Eq.
    10-12]."""
    bars = alpha_bars(chain.schedule, chain.num_timesteps)
    bar, before = bars[t], bars[t - 1]
    beta = 1 - bar / before
    marginal, marginal_before = (1 - a + a * STD**2 for a in (bar, before))
    return (
        beta,
        beta * (1 - before) / (1 - bar),
        math.sqrt(before) * beta / (1 - bar),
        beta * marginal_before / marginal,  # of a Gaussian chain with one-step variance beta
    )


def log_range(chain: DiscreteProcess, t: int, v: float) -> float:
    """ln variance at v on the line from ln beta_tilde to ln beta."""
    beta, beta_tilde, _, _ = textbook(chain, t)
    return (v + 1) / 2 * math.log(beta) + (1 - v) / 2 * math.log(beta_tilde)


@pytest.mark.parametrize(("schedule", "num_timesteps"), CHAINS)
@pytest.mark.parametrize("place", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("v", [-0.8, 0.0, 0.6])
def test_terms_of_gaussian_data_have_their_closed_form_in_bits(
    schedule: ScheduleName, num_timesteps: int, place: float, v: float
) -> None:
    chain = DiscreteProcess(schedule=schedule, num_timesteps=num_timesteps)
    t = max(1, round(place * (num_timesteps - 1)))
    batch = gaussian_batch(chain, t, 2000)
    vlb = terms_of("vlb", GaussianNet(chain, v), batch)["vlb"].detach()
    _, beta_tilde, of_x0, _ = textbook(chain, t)
    model = math.exp(log_range(chain, t, v))
    x0_variance = 1 / (1 / STD**2 + 1 / chain.sigmas[t] ** 2)
    nats = 0.5 * (math.log(model / beta_tilde) - 1 + (beta_tilde + of_x0**2 * x0_variance) / model)
    expected = num_timesteps * nats / math.log(2)
    assert abs(float(vlb.mean()) - expected) < 5 * float(vlb.std()) / math.sqrt(2000)


@pytest.mark.parametrize(("schedule", "num_timesteps"), CHAINS)
def test_the_exact_model_leaves_half_the_log_ratio_of_the_variances(
    schedule: ScheduleName, num_timesteps: int
) -> None:
    chain = DiscreteProcess(schedule=schedule, num_timesteps=num_timesteps)
    t = num_timesteps // 3
    beta, beta_tilde, _, exact = textbook(chain, t)
    v = 2 * math.log(exact / beta_tilde) / math.log(beta / beta_tilde) - 1
    vlb = terms_of("vlb", GaussianNet(chain, v), gaussian_batch(chain, t, 2000))["vlb"].detach()
    # E KL(q(x_{t-1} | x_t, x0) || q(x_{t-1} | x_t)) = ln(Var[x_{t-1} | x_t] / beta_tilde) / 2.
    expected = num_timesteps * 0.5 * math.log2(exact / beta_tilde)
    assert abs(float(vlb.mean()) - expected) < 5 * float(vlb.std()) / math.sqrt(2000)


@pytest.mark.parametrize(("schedule", "num_timesteps"), CHAINS)
@pytest.mark.parametrize("v", [-1.0, 0.0, 1.0])
def test_the_first_timestep_costs_the_bits_of_the_pixels(
    schedule: ScheduleName, num_timesteps: int, v: float
) -> None:
    chain = DiscreteProcess(schedule=schedule, num_timesteps=num_timesteps)
    generator = torch.Generator().manual_seed(3)
    x0 = to_unit(torch.randint(1, 255, (4, 1, 8, 8), dtype=torch.uint8, generator=generator))
    error = 0.003 * torch.randn(x0.shape, generator=generator)
    bits = bound_terms(chain, torch.zeros(4, dtype=torch.int64), x0, error, torch.full_like(x0, v))
    beta0 = 1 - alpha_bars(schedule, num_timesteps)[0]
    _, beta_tilde1, _, _ = textbook(chain, 1)
    std = beta0 ** ((1 + v) / 4) * beta_tilde1 ** ((1 - v) / 4)
    centre = -error.double().numpy()
    mass = norm.cdf((centre + 1 / 255) / std) - norm.cdf((centre - 1 / 255) / std)
    expected = -torch.from_numpy(mass).log2().flatten(1).mean(1)
    # x0 + error is rounded to 6e-8, up to 1e-5 standard deviations, against a slope of up to z = 5.
    torch.testing.assert_close(bits.double(), expected, rtol=2e-4, atol=1e-4)


def test_timesteps_of_one_batch_get_the_terms_they_get_alone() -> None:
    chain = DiscreteProcess(schedule="cosine", num_timesteps=1000)
    generator = torch.Generator().manual_seed(4)
    timestep = torch.tensor([999, 0, 1, 500])
    x0 = to_unit(torch.randint(0, 256, (4, 1, 4, 4), dtype=torch.uint8, generator=generator))
    sigma = torch.tensor(chain.sigmas)[timestep][:, None, None, None]
    error, v = (
        (sigma * torch.randn(2, *x0.shape, generator=generator)[0]),
        torch.randn(x0.shape, generator=generator),
    )
    together = bound_terms(chain, timestep, x0, error, v)
    alone = [bound_terms(chain, *(a[i : i + 1] for a in (timestep, x0, error, v))) for i in range(4)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-6, atol=0)


def test_zero_initialised_variances_are_geometric_means() -> None:
    chain = DiscreteProcess(schedule="linear", num_timesteps=1000)
    beta, beta_tilde, of_x0, _ = textbook(chain, 5)
    x0, error = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.01)
    bits = bound_terms(chain, torch.tensor([5]), x0, error, torch.zeros_like(x0))
    model = math.sqrt(beta * beta_tilde)
    expected = (
        0.5 * (math.log(model / beta_tilde) - 1 + (beta_tilde + (of_x0 * 0.01) ** 2) / model) / math.log(2)
    )
    assert float(bits) == pytest.approx(expected, rel=1e-5)


def mixed_batch(chain: DiscreteProcess) -> Noised:
    """Images at the first, two middle and the last timestep."""
    generator = torch.Generator().manual_seed(6)
    x0 = to_unit(torch.randint(0, 256, (4, 1, 4, 4), dtype=torch.uint8, generator=generator))
    last = chain.num_timesteps - 1
    sigma = torch.tensor(chain.sigmas, dtype=torch.float64)[torch.tensor([0, 1, last // 2, last])]
    return Noised(x0, torch.randn(x0.shape, generator=generator), sigma)


def gradient(value: Tensor, net: GaussianNet) -> tuple[float, float]:
    """Derivatives by the error of the mean and by v; 0 where there is no path."""
    parts = torch.autograd.grad(value, [net.bias, net.v], retain_graph=True, allow_unused=True)
    return tuple(0.0 if part is None else float(part) for part in parts)  # type: ignore[return-value]


def test_the_hybrid_loss_is_the_simple_one_plus_a_thousandth_of_the_bound() -> None:
    net = GaussianNet(DiscreteProcess(schedule="cosine"), v=0.3, bias=0.1)
    terms = terms_of("hybrid", net, mixed_batch(net.chain))
    assert set(terms) == {"loss", "simple", "vlb"}
    torch.testing.assert_close(terms["loss"], terms["simple"] + 0.001 * terms["vlb"])


def test_in_the_hybrid_loss_the_bound_teaches_the_variance_alone() -> None:
    net = GaussianNet(DiscreteProcess(schedule="cosine"), v=0.3, bias=0.1)
    terms = terms_of("hybrid", net, mixed_batch(net.chain))
    of_simple, of_vlb, of_loss = (gradient(terms[name].sum(), net) for name in ("simple", "vlb", "loss"))
    assert of_vlb[0] == 0
    assert of_simple[1] == 0
    assert of_loss == pytest.approx((of_simple[0], 0.001 * of_vlb[1]), rel=1e-6)
    assert of_loss[0] != 0
    assert of_loss[1] != 0


def test_the_vlb_loss_teaches_both_and_watches_the_simple_one() -> None:
    net = GaussianNet(DiscreteProcess(schedule="cosine"), v=0.3, bias=0.1)
    batch = mixed_batch(net.chain)
    terms, hybrid = terms_of("vlb", net, batch), terms_of("hybrid", net, batch)
    assert torch.equal(terms["loss"], terms["vlb"])
    assert not terms["simple"].requires_grad
    torch.testing.assert_close(terms["simple"], hybrid["simple"].detach())
    torch.testing.assert_close(terms["vlb"], hybrid["vlb"])
    of_bias, of_v = gradient(terms["loss"].sum(), net)
    assert of_bias != 0
    assert of_v == pytest.approx(gradient(hybrid["vlb"].sum(), net)[1], rel=1e-6)


@pytest.mark.parametrize("place", [0.02, 0.3, 0.8])
def test_the_gradient_leads_v_towards_the_exact_variance(place: float) -> None:
    chain = DiscreteProcess(schedule="cosine", num_timesteps=1000)
    t = round(place * 999)
    beta, beta_tilde, _, exact = textbook(chain, t)
    best = 2 * math.log(exact / beta_tilde) / math.log(beta / beta_tilde) - 1
    # Sampling noise is half a per cent of the errors' share in the slope;
    # a quarter of the range away it is no matter.
    for v, sign in ((best - 0.5, -1), (best + 0.5, 1)):
        net = GaussianNet(chain, v)
        slope = gradient(terms_of("hybrid", net, gaussian_batch(chain, t, 2000))["vlb"].mean(), net)[1]
        assert slope * sign > 0


def test_every_gradient_is_finite_at_every_timestep() -> None:
    for schedule, num_timesteps in CHAINS:
        net = GaussianNet(DiscreteProcess(schedule=schedule, num_timesteps=num_timesteps), v=0.0, bias=1.0)
        terms = terms_of("vlb", net, mixed_batch(net.chain))
        assert all(math.isfinite(part) for part in gradient(terms["loss"].sum(), net))


def test_a_network_without_variances_is_refused() -> None:
    class Half(GaussianNet):
        def forward(self, *args: Tensor | None) -> Tensor:  # type: ignore[override]
            return super().forward(*args).chunk(2, dim=1)[0]  # type: ignore[arg-type]

    net = Half(DiscreteProcess(schedule="cosine"), v=0.0)
    with pytest.raises(ValueError, match="objective hybrid needs twice as many output channels"):
        terms_of("hybrid", net, mixed_batch(net.chain))


@pytest.mark.slow
def test_training_on_digits_teaches_v_and_lowers_the_bound() -> None:
    images, timesteps, count = to_unit(load_images("digits", None).images), 100, 48
    objective = HybridObjective(num_timesteps=timesteps)
    chain = DiscreteProcess(schedule="cosine", num_timesteps=timesteps)
    torch.manual_seed(0)
    config = UNet(channels=16, channel_mult=(1, 2), num_blocks=1, attention_resolutions=(4,))
    net = config.build(NetShape(resolution=8, in_channels=1, num_classes=10, learned_variance=True))
    denoiser = Denoiser(net, Preconditioning(chain, "eps"))

    def noised(x0: Tensor, sigma: Tensor) -> Noised:
        return Noised(x0, torch.randn_like(x0), sigma)

    adam = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(400):
        batch = noised(
            images[torch.randint(len(images), (64,))], chain.sigma_at(torch.rand(64, dtype=torch.float64))
        )
        adam.zero_grad()
        objective.losses(denoiser, batch)["loss"].mean().backward()
        adam.step()
    with torch.no_grad():
        sigma = torch.tensor(chain.sigmas, dtype=torch.float64).repeat_interleave(count)
        batch = noised(images[:count].repeat(timesteps, 1, 1, 1), sigma)
        output = denoiser.output(batch.x, sigma, None)
        assert output.variance is not None
        error = -sigma.float()[:, None, None, None] * (output.target - batch.eps)
        # Every image passes every timestep: the sum over them is its whole bound.
        learned, fixed = (
            bound_terms(chain, chain.timestep(sigma), batch.x0, error, v).reshape(timesteps, count).sum(0)
            for v in (output.variance, torch.zeros_like(output.variance))
        )
    print(
        f"{learned.mean():.3f}, {fixed.mean():.3f} bits/dim at "
        f"v = 0, mean |v| {output.variance.abs().mean():.3f}"
    )
    gain = fixed - learned
    assert float(output.variance.abs().mean()) > 0.1
    assert float(gain.mean()) > 5 * float(gain.std()) / math.sqrt(count)
