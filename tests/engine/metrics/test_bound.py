"""The variational bound of Gaussian data against closed
forms, of bytes against their entropy, and its bookkeeping."""

import json
import math
from itertools import pairwise
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from engine.data.datasets import to_unit
from engine.denoiser import Denoiser
from engine.evaluation.oracle import GaussianOracle
from engine.metrics.bound import Bound, chain_terms, decoder_variance, variational_bound
from engine.noise import Purpose, normal
from engine.objectives.losses.bound import bound_terms
from engine.posterior import Posterior
from engine.process.decoder import DecoderName
from engine.process.precond import Preconditioning
from engine.process.processes import DiscreteProcess
from engine.process.schedules import alpha_bars, sigma_of
from engine.samplers.ddpm import Ddpm

STD, V = 0.5, 0.3
COVARIANCES = ["beta", "beta_tilde", "learned_range", "analytic", "ocm"]
WALKS: list[dict[str, Any]] = [
    {"num_steps": 10},
    {"num_steps": 7, "tau": "quadratic"},
    {"num_steps": 20, "tau": "trailing", "schedule": "cosine"},
    {"num_steps": 5, "tau": "trailing", "zero_terminal_snr": True},
    {"num_steps": 200, "num_timesteps": 200, "schedule": "cosine"},
]


class Exact:
    """The exact denoiser of N(0, std^2) data, which also tells Cov[x0 | x] and iDDPM's coordinate V."""

    def __init__(self, std: float = STD) -> None:
        self.oracle = GaussianOracle(std)
        self.seen: dict[float, Tensor] = {}

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        self.seen[sigma] = x
        return self.oracle.denoise(x, sigma)

    def posterior(self, x: Tensor, sigma: float) -> Posterior:
        variance = self.oracle.posterior(x, sigma).x0_variance
        return Posterior(self(x, sigma), torch.full_like(x, V), variance)


def sampler_of(covariance: str, **walk: Any) -> Ddpm:
    return Ddpm(covariance=covariance, clip_x0=False, **walk)  # type: ignore[arg-type]


def expected_terms(sampler: Ddpm) -> Tensor:
    """Means over Gaussian data and noise of the prior's and the steps' terms, to rounding.

    The terms are quadratic in x0 and eps, of which only the variances count:
    those of x0 = +-STD and eps = +-1.
    """
    x0 = torch.tensor([STD, STD, -STD, -STD], dtype=torch.float64).reshape(4, 1, 1, 1)
    eps = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64).reshape(4, 1, 1, 1)
    return chain_terms(Exact(), sampler, x0, lambda timestep: eps).mean(0)[:-1]


def closed_form_kl(covariance: str, bar: float, bar_next: float) -> float:
    """Mean KL in bits of a step for N(0, STD^2) data [P1 Eq. 10-12]."""
    beta = 1 - bar / bar_next
    beta_tilde, of_x0 = beta * (1 - bar_next) / (1 - bar), math.sqrt(bar_next) * beta / (1 - bar)
    x0_variance = 1 / (1 / STD**2 + bar / (1 - bar))
    exact = beta_tilde + of_x0**2 * x0_variance
    model = {
        "beta": beta,
        "beta_tilde": beta_tilde,
        "learned_range": beta ** ((1 + V) / 2) * beta_tilde ** ((1 - V) / 2),
    }.get(covariance, exact)
    return 0.5 * (math.log(model / beta_tilde) - 1 + exact / model) / math.log(2)


def kept_bits(sampler: Ddpm) -> float:
    """I(x0; x_t) at the least noisy timestep + KL(q(x_T) || N(0, 1)): what steps with the exact variance sum
    up to."""
    marginals = [bar * STD**2 + 1 - bar for bar in sampler.alpha_bars[:-1]]
    information = 0.5 * math.log(marginals[-1] / (1 - sampler.alpha_bars[-2]))
    return (information + 0.5 * (marginals[0] - 1 - math.log(marginals[0]))) / math.log(2)


@pytest.mark.parametrize("walk", WALKS, ids=str)
@pytest.mark.parametrize("covariance", COVARIANCES)
def test_terms_of_gaussian_data_have_their_closed_form_at_every_covariance(
    covariance: str, walk: dict[str, Any]
) -> None:
    sampler = sampler_of(covariance, **walk)
    first = sampler.alpha_bars[0]
    prior = 0.5 * (first * (STD**2 - 1) - math.log1p(-first)) / math.log(2)
    expected = [prior, *(closed_form_kl(covariance, *bars) for bars in pairwise(sampler.alpha_bars[:-1]))]
    # Rounding 1e-16 of alpha_bar is 1e-12 of 1 - alpha_bar
    # ~ 1e-4, and as much of x0_weight's small differences.
    torch.testing.assert_close(
        expected_terms(sampler), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("walk", WALKS, ids=str)
def test_the_exact_covariance_is_the_tightest_at_every_step(walk: dict[str, Any]) -> None:
    exact = expected_terms(sampler_of("ocm", **walk))
    assert torch.equal(exact, expected_terms(sampler_of("analytic", **walk)))
    for covariance in ("beta", "beta_tilde", "learned_range"):
        assert (expected_terms(sampler_of(covariance, **walk))[1:] > exact[1:]).all()


@pytest.mark.parametrize("walk", WALKS, ids=str)
def test_steps_with_the_exact_covariance_cost_what_the_last_state_knows_however_few(
    walk: dict[str, Any],
) -> None:
    sampler = sampler_of("ocm", **walk)
    assert float(expected_terms(sampler).sum()) == pytest.approx(kept_bits(sampler), rel=1e-9)


@pytest.mark.parametrize("covariance", ["beta", "beta_tilde"])
def test_with_many_steps_fixed_covariances_come_to_the_exact_ones_bound(covariance: str) -> None:
    walks = [sampler_of(covariance, num_steps=steps, tau="even") for steps in (10, 50, 250, 1000)]
    excess = [float(expected_terms(walk).sum()) - kept_bits(walk) for walk in walks]
    assert all(later < earlier / 2 for earlier, later in pairwise(excess))
    assert 0 < excess[-1] < excess[0] / 50  # first order in the number of steps, 100 times as many here


NARROW = 0.2
"""Standard deviation of data that five of them keep off the darkest and the brightest byte."""


def narrow_bytes(count: int) -> tuple[Tensor, float]:
    """Images of N(0, NARROW^2) pixels rounded to bytes, and the mean -log2 P(byte) of them."""
    x0 = NARROW * normal(5, Purpose.LATENT, torch.arange(count), (1, 8, 8))
    images = ((x0 + 1) * 127.5).round().to(torch.uint8)
    edges = ((torch.arange(257).double() - 0.5) / 127.5 - 1) / NARROW
    return images, float(-torch.special.ndtr(edges).diff().log2()[images.long()].mean())


def bound_of_bytes(images: Tensor, covariance: str, decoder: DecoderName) -> Bound:
    sampler = sampler_of(covariance, num_steps=10)
    return variational_bound(Exact(NARROW), sampler, images, None, seed=0, batch_size=128, decoder=decoder)


def cost_of(decoder: DecoderName) -> float:
    """What the decoder's variance costs in bits per dimension, for data of N(0, NARROW^2).

    Given the last state x0 has variance v, and the decoder is a Gaussian of
    variance r v: that costs (1 / r - 1 + ln r) / 2 nats. Integrated over bins of
    width w both widen by w^2 / 12, 5 % of v and 10 % of r v: the cost shrinks.
    """
    sampler = sampler_of("ocm", num_steps=10)
    sigma2 = (1 - sampler.alpha_bars[-2]) / sampler.alpha_bars[-2]
    variance = decoder_variance(sampler, Posterior(torch.empty(0)), decoder)
    ratio = float(variance) * (1 / sigma2 + 1 / NARROW**2)
    return (1 / ratio - 1 + math.log(ratio)) / 2 / math.log(2)


def test_the_bound_of_bytes_lies_above_their_code_length_by_what_the_decoder_costs() -> None:
    images, code_length = narrow_bytes(128)
    bounds = {name: bound_of_bytes(images, name, "chain") for name in ("ocm", "beta", "beta_tilde")}
    gap, stderr = cost_of("chain"), bounds["ocm"].stderr
    assert stderr is not None
    assert 0 < bounds["ocm"].total - code_length < gap + 5 * stderr
    assert 5 * stderr < gap
    assert bounds["beta"].total > bounds["ocm"].total
    assert bounds["beta_tilde"].total > bounds["ocm"].total


def test_the_walks_own_variance_fits_long_steps_and_costs_next_to_nothing() -> None:
    images, code_length = narrow_bytes(128)
    walk, chain = (bound_of_bytes(images, "ocm", decoder) for decoder in get_args(DecoderName))
    assert walk.stderr is not None
    assert cost_of("walk") < 1e-5
    # Rounding to bytes leaves the two Gaussians' cost no sharper than this.
    assert abs(walk.total - code_length) < 5 * walk.stderr
    # The same images and noise: between the conventions lie a tenth to a sixth of a bit.
    assert 0.09 < chain.total - walk.total < 0.17
    assert torch.equal(chain.terms[:, :-1], walk.terms[:, :-1])


class Net(nn.Module):
    """A network of two weights that answers eps and a v that differs from pixel to pixel;
    labels shift its eps."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.7, 0.4]))

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None, augment: Tensor | None) -> Tensor:
        shift = 0.0 if label is None else 0.01 * label.float().reshape(-1, 1, 1, 1)
        level = (c_noise / 1000).reshape(-1, 1, 1, 1)
        return torch.cat([self.weight[0] * x * level + shift, self.weight[1] * x.sin() - level], dim=1)


CHAIN = DiscreteProcess(num_timesteps=100)


def network() -> Denoiser:
    return Denoiser(Net(), Preconditioning(CHAIN, "eps"))


def images_of(count: int) -> Tensor:
    return torch.randint(
        0, 256, (count, 2, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


@pytest.mark.parametrize("clip_x0", [False, True])
@torch.no_grad()
def test_on_the_full_chain_a_learned_range_has_the_terms_of_the_training_objective(clip_x0: bool) -> None:
    sampler = Ddpm(num_steps=100, num_timesteps=100, covariance="learned_range", clip_x0=clip_x0)
    images, denoiser, keys = images_of(3), network(), torch.arange(3)
    bound = variational_bound(denoiser, sampler, images, None, seed=4, batch_size=3)
    assert bound.timesteps == tuple(range(99, -1, -1))
    x0 = to_unit(images).double()
    for place, timestep in enumerate(bound.timesteps):
        sigma = sigma_of(alpha_bars("linear", 100)[timestep])
        posterior = denoiser.posterior(
            x0 + sigma * normal(4, Purpose.BOUND, keys, (2, 4, 4), timestep), sigma
        )
        x0_hat, fraction = posterior.x0_hat, posterior.range_fraction
        assert fraction is not None
        error = (x0_hat.clamp(-1, 1) if clip_x0 else x0_hat) - x0
        expected = bound_terms(CHAIN, torch.full((3,), timestep), x0, error, fraction)
        # Both in float64; 1 - alpha_bar ~ 1e-3 loses three digits,
        # and the square of a difference of roots three more.
        torch.testing.assert_close(bound.terms[:, 1 + place], expected, rtol=1e-9, atol=1e-12)


def test_the_last_step_has_the_variance_that_the_convention_gives_it() -> None:
    table = alpha_bars("linear", 1000)

    def beta_tilde(before: int) -> float:
        return (1 - table[before] / table[0]) * (1 - table[0]) / (1 - table[before])

    def variance(covariance: str, decoder: DecoderName, **walk: Any) -> float:
        posterior = Posterior(torch.empty(0), torch.tensor(V, dtype=torch.float64))
        sampler = sampler_of(covariance, num_steps=10, **walk)
        return float(decoder_variance(sampler, posterior, decoder))

    # Ten linear steps visit 0, 111, 222, ...
    for covariance in ("beta", "beta_tilde", "analytic", "ocm"):
        assert variance(covariance, "walk") == pytest.approx(beta_tilde(111), rel=1e-12)
    learned = beta_tilde(111) ** ((1 - V) / 2) * (1 - table[0]) ** ((1 + V) / 2)
    assert variance("learned_range", "walk") == pytest.approx(learned, rel=1e-12)
    for covariance in COVARIANCES:
        assert variance(covariance, "chain") == pytest.approx(beta_tilde(1), rel=1e-12)
        # Where a walk ends before timestep 0 there is no such step.
        ends_early = variance(covariance, "chain", tau="trailing")
        assert ends_early == variance(covariance, "walk", tau="trailing")


def test_clip_pixels_is_for_the_eye_and_not_for_the_bound() -> None:
    images, _ = narrow_bytes(2)
    clipped, free = (
        variational_bound(
            Exact(), sampler_of("ocm", num_steps=5, clip_pixels=c), images, None, seed=0, batch_size=2
        )
        for c in (1.0, None)
    )
    assert torch.equal(clipped.terms, free.terms)


def test_an_image_is_worth_the_same_in_any_company() -> None:
    sampler, images = Ddpm(num_steps=5, num_timesteps=100, covariance="learned_range"), images_of(7)
    together, few = (
        variational_bound(network(), sampler, part, None, seed=0, batch_size=3).values
        for part in (images, images[:4])
    )
    assert torch.equal(together[:4], few)
    wide = variational_bound(network(), sampler, images, None, seed=0, batch_size=7).values
    torch.testing.assert_close(
        together, wide, rtol=1e-6, atol=0
    )  # float32 networks may add up in another order
    other = variational_bound(network(), sampler, images, None, seed=1, batch_size=3).values
    assert not torch.isclose(together, other, rtol=1e-6, atol=0).any()


def test_subsequences_meet_the_same_state_at_the_same_timestep() -> None:
    images, few, many = images_of(2), Exact(), Exact()
    for denoise, steps in ((few, 4), (many, 10)):
        variational_bound(denoise, sampler_of("beta", num_steps=steps), images, None, seed=0, batch_size=2)
    assert len(few.seen) == 4
    assert all(
        torch.equal(x, many.seen[sigma]) for sigma, x in few.seen.items()
    )  # 0, 333, 666, 999 are in both
    states = list(few.seen.values())
    assert not torch.equal(*(state.sign() for state in states[:2]))  # fresh noise at every timestep


def test_one_evaluation_for_each_image_and_timestep() -> None:
    sampler, denoiser = Ddpm(num_steps=5, num_timesteps=100, covariance="learned_range"), network()
    variational_bound(denoiser, sampler, images_of(6), None, seed=0, batch_size=2)
    assert denoiser.nfe == 3 * 5


def test_labels_go_with_their_images_and_guidance_needs_them() -> None:
    sampler, images, labels = Ddpm(num_steps=5, num_timesteps=100), images_of(3), torch.tensor([0, 500, 900])
    plain, labelled = (
        variational_bound(network(), sampler, images, given, seed=0, batch_size=2).values
        for given in (None, labels)
    )
    assert plain[0] == labelled[0]
    assert (plain[1:] != labelled[1:]).all()
    guided = sampler.model_copy(update={"guidance": 2.0})
    strong = variational_bound(network(), guided, images, labels, seed=0, batch_size=2).values
    assert strong[1] != labelled[1]
    with pytest.raises(ValueError, match="mixes predictions with and without labels"):
        variational_bound(network(), guided, images, None, seed=0, batch_size=2)
    with pytest.raises(ValueError, match="labels and guidance need a Denoiser"):
        variational_bound(Exact(), sampler, images, labels, seed=0, batch_size=2)


def test_numbers_are_means_over_images_and_add_up() -> None:
    bound = Bound((9, 4, 0), torch.tensor([[0.1, 0.5, 1.0, 2.0], [0.3, 0.7, 3.0, 4.0]], dtype=torch.float64))
    assert bound.prior == pytest.approx(0.2)
    assert bound.kl == pytest.approx({9: 0.6, 4: 2.0})
    assert bound.decoder == pytest.approx(3.0)
    assert bound.total == pytest.approx(5.8)
    assert bound.stderr == pytest.approx(2.2)  # values 3.6 and 8: half their distance
    plain = json.loads(json.dumps(bound.record().to_json()))
    assert plain["steps"][0] == {"timestep": 9, "kl": pytest.approx(0.6)}
    assert plain["num_images"] == 2
    assert Bound(bound.timesteps, bound.terms[:1]).stderr is None


def test_what_cannot_be_measured_is_refused() -> None:
    images, exact = images_of(2), GaussianOracle(STD).denoise
    for covariance in ("learned_range", "ocm"):
        with pytest.raises(ValueError, match=f"covariance {covariance} needs a denoiser whose posterior"):
            variational_bound(exact, sampler_of(covariance, num_steps=3), images, None, seed=0, batch_size=2)
    with pytest.raises(ValueError, match="at least two timesteps"):
        variational_bound(exact, sampler_of("beta", num_steps=1), images, None, seed=0, batch_size=2)
    for wrong in (to_unit(images), images[:0]):
        with pytest.raises(ValueError, match="at least one image of bytes"):
            variational_bound(exact, sampler_of("beta", num_steps=3), wrong, None, seed=0, batch_size=2)
