"""DDPM and DDIM with every variance: closed forms on
Gaussian data, special cases and which samplers are one."""

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.evaluation.oracle import GaussianOracle
from engine.noise import Purpose, normal
from engine.posterior import Posterior
from engine.process.covariance import ReverseStep, learned_range, pixel_std, reverse_betas
from engine.process.schedules import TERMINAL_SIGMA, alpha_bars
from engine.samplers.chain import ChainSampler
from engine.samplers.chain_step import clipped
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm

pytestmark = pytest.mark.slow

STD = 0.5
SHAPE = (1, 4, 4)
TABLE = alpha_bars("linear", 1000)
ORACLE = GaussianOracle(STD)


@dataclass(frozen=True)
class Exact:
    """A denoiser that also tells the variance, as a trained network with a covariance head does."""

    oracle: GaussianOracle = ORACLE
    fraction: float | None = None

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return self.oracle.denoise(x, sigma)

    def posterior(self, x: Tensor, sigma: float) -> Posterior:
        if self.fraction is None:
            return Posterior(self(x, sigma), x0_variance=self.oracle.posterior(x, sigma).x0_variance)
        return Posterior(self(x, sigma), range_fraction=torch.full_like(x, self.fraction))


EXACT = Exact()


def drawn(
    sampler: ChainSampler, denoise: Any = EXACT, count: int = 16, shape: tuple[int, ...] = SHAPE
) -> Tensor:
    items = torch.arange(count)
    latents = normal(0, Purpose.LATENT, items, shape)
    return sampler.sample(denoise, latents, lambda step: normal(0, Purpose.SAMPLER_STEP, items, shape, step))


def form(sampler: ChainSampler) -> str:
    return json.dumps(sampler.canonical().form, sort_keys=True)


def marginal(alpha_bar: float) -> float:
    return alpha_bar * STD**2 + 1 - alpha_bar


def output_variance(sampler: ChainSampler, covariance: Any, eta: float) -> float:
    """Variance of the samples of N(0, STD^2) data:
    every step is linear in x, so variances obey a recursion."""
    variance = 1.0
    for alpha_bar, alpha_bar_next in pairwise(sampler.alpha_bars):
        step, shrink = (
            ReverseStep(alpha_bar, alpha_bar_next, eta),
            math.sqrt(alpha_bar) * STD**2 / marginal(alpha_bar),
        )
        eps_per_x = (1 - math.sqrt(alpha_bar) * shrink) / math.sqrt(1 - alpha_bar)
        cov = STD**2 * (1 - alpha_bar) / marginal(alpha_bar)
        noise = step.noise_std(covariance, Posterior(torch.empty(0), x0_variance=torch.tensor(cov).double()))
        variance *= (math.sqrt(alpha_bar_next) * shrink + step.eps_weight * eps_per_x) ** 2
        variance += float(noise) ** 2 if alpha_bar_next < 1 else 0.0
    return variance


def test_reverse_variance_with_the_exact_covariance_is_that_of_the_gaussian() -> None:
    alpha_bar, alpha_bar_next = TABLE[199], TABLE[99]
    step = ReverseStep(alpha_bar, alpha_bar_next)
    cov = torch.tensor(STD**2 * (1 - alpha_bar) / marginal(alpha_bar), dtype=torch.float64)
    variance = float(step.noise_std("ocm", Posterior(torch.empty(0), x0_variance=cov))) ** 2
    # Var[x_s | x_t] = V_s - (alpha_bar_t / alpha_bar_s)
    # V_s^2 / V_t of two jointly normal variables, to rounding.
    exact = marginal(alpha_bar_next) - alpha_bar / alpha_bar_next * marginal(alpha_bar_next) ** 2 / marginal(
        alpha_bar
    )
    assert variance == pytest.approx(exact, rel=1e-12)
    assert variance == pytest.approx(0.171668, abs=5e-7)  # worked out independently, six digits


def test_ddim_coefficients_at_eta_1_are_the_posterior_means_of_ddpm() -> None:
    for alpha_bar, alpha_bar_next in ((TABLE[199], TABLE[99]), (TABLE[999], TABLE[0]), (TABLE[1], TABLE[0])):
        step, beta = ReverseStep(alpha_bar, alpha_bar_next), 1 - alpha_bar / alpha_bar_next
        of_x0 = math.sqrt(alpha_bar_next) * beta / (1 - alpha_bar)
        of_x = math.sqrt(alpha_bar / alpha_bar_next) * (1 - alpha_bar_next) / (1 - alpha_bar)
        # 1 - alpha_bar loses the digits of alpha_bar:
        # 1e-16 / 1e-4 at the first timestep, and once more in the root.
        assert step.x0_weight == pytest.approx(of_x0, rel=1e-11)
        assert step.eps_weight / math.sqrt(1 - alpha_bar) == pytest.approx(of_x, rel=1e-11)


def test_every_eta_keeps_the_marginal_of_x_given_x0() -> None:
    low, high = TABLE[700], TABLE[50]
    for eta in (0.0, 0.5, 1.0):
        step = ReverseStep(low, high, eta)
        assert step.std**2 + step.eps_weight**2 == pytest.approx(1 - high, rel=1e-14)
        assert step.x0_weight + step.eps_weight * math.sqrt(low / (1 - low)) == pytest.approx(math.sqrt(high))


@pytest.mark.parametrize("clip", [False, True])
def test_full_ddim_at_eta_1_is_full_ddpm(clip: bool) -> None:
    ddim = Ddim(num_steps=1000, eta=1, clip="x0_and_eps" if clip else "none")
    ddpm = Ddpm(num_steps=1000, clip_x0=clip)
    items = torch.arange(4)
    x = normal(0, Purpose.LATENT, items, SHAPE)
    for t in reversed(range(1000)):
        alpha_bar, alpha_bar_next = TABLE[t], TABLE[t - 1] if t else 1.0
        beta = 1 - alpha_bar / alpha_bar_next
        x0_hat = EXACT(x / math.sqrt(alpha_bar), math.sqrt((1 - alpha_bar) / alpha_bar))
        x0_hat = x0_hat.clamp(-1, 1) if clip else x0_hat
        noise = normal(0, Purpose.SAMPLER_STEP, items, SHAPE, 999 - t)
        x = (
            math.sqrt(alpha_bar_next) * beta / (1 - alpha_bar) * x0_hat
            + math.sqrt(1 - beta) * (1 - alpha_bar_next) / (1 - alpha_bar) * x
            + math.sqrt(beta * (1 - alpha_bar_next) / (1 - alpha_bar)) * noise
        )
    # The two samplers are one, bit for bit; DDPM's own formula [P1 Eq. 10-12] differs by a thousand roundings
    # of 1e-16 / (1 - alpha_bar), 1e-12 at the smallest timesteps.
    assert torch.equal(drawn(ddim, count=4), drawn(ddpm, count=4))
    assert torch.allclose(drawn(ddpm, count=4), x, rtol=0, atol=1e-11)


@pytest.mark.parametrize("num_steps", [5, 10, 20])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_few_steps_with_the_exact_covariance_keep_the_data_variance(num_steps: int, eta: float) -> None:
    sampler = Ddim(num_steps=num_steps, eta=eta, covariance="ocm", clip_pixels=None)
    sigma_squared = (1 - TABLE[0]) / TABLE[0]
    # Every marginal is exact but two ends: x_T starts at variance 1 instead of
    # marginal(alpha_bar_T), 3e-5 off and shrinking, and the last step takes
    # the mean of x0 at timestep 0, of variance STD^4 / (STD^2 + sigma_0^2).
    expected = STD**4 / (STD**2 + sigma_squared)
    assert output_variance(sampler, "ocm", eta) == pytest.approx(expected, abs=(1 - STD**2) * TABLE[-1])
    x = drawn(sampler, count=1000, shape=(1, 8, 8))
    assert abs(float(x.var()) - expected) < 5 * expected * math.sqrt(2 / x.numel())  # five standard errors


@pytest.mark.parametrize("num_steps", [5, 10, 20])
def test_few_steps_with_a_fixed_variance_widen_or_narrow_the_data(num_steps: int) -> None:
    wide, narrow = (Ddpm(num_steps=num_steps, covariance=c, clip_x0=False) for c in ("beta", "beta_tilde"))
    for sampler in (wide, narrow):
        exact = output_variance(sampler, sampler.covariance, 1.0)
        x = drawn(sampler, count=1000, shape=(1, 8, 8))
        assert abs(float(x.var()) - exact) < 5 * exact * math.sqrt(2 / x.numel())  # five standard errors
    # 0.557, 0.357, 0.298 and 0.044, 0.104, 0.150 at 5, 10 and 20 steps, where the data has 0.25.
    assert output_variance(wide, "beta", 1.0) > 1.15 * STD**2
    assert output_variance(narrow, "beta_tilde", 1.0) < 0.65 * STD**2


def test_fixed_variances_bracket_the_exact_one_at_every_step() -> None:
    for t, s in ((999, 799), (500, 400), (100, 0)):
        step = ReverseStep(TABLE[t], TABLE[s])
        cov = torch.tensor(STD**2 * (1 - TABLE[t]) / marginal(TABLE[t]), dtype=torch.float64)
        posterior = Posterior(torch.empty(0), x0_variance=cov)
        low, exact, high = (float(step.noise_std(name, posterior)) for name in ("beta_tilde", "ocm", "beta"))
        assert low < exact < high


def test_learned_range_ends_at_the_fixed_variances_and_is_not_clamped() -> None:
    for fraction, covariance in ((-1.0, "beta_tilde"), (1.0, "beta")):
        fixed = drawn(Ddpm(num_steps=10, covariance=covariance))
        learned = drawn(Ddpm(num_steps=10, covariance="learned_range"), Exact(fraction=fraction))
        # exp(log(variance)) instead of the variance: a few roundings a step.
        assert torch.allclose(learned, fixed, rtol=0, atol=1e-13)
    beta, beta_tilde = reverse_betas(TABLE[199], TABLE[99])
    middle, beyond = learned_range(torch.tensor([0.0, 3.0], dtype=torch.float64), beta, beta_tilde)
    assert float(middle) == pytest.approx(math.sqrt(beta * beta_tilde), rel=1e-14)
    assert float(beyond) == pytest.approx(beta**2 / beta_tilde, rel=1e-14)


def test_the_covariance_of_x0_is_clamped_to_that_of_images() -> None:
    step = ReverseStep(TABLE[500], TABLE[400])
    for given, used in ((-3.0, 0.0), (7.0, 1.0)):
        pairs = [Posterior(torch.empty(0), x0_variance=torch.tensor(value)) for value in (given, used)]
        assert step.noise_std("ocm", pairs[0]) == step.noise_std("ocm", pairs[1])
    assert float(step.noise_std("ocm", pairs[0])) > step.std


def test_noise_that_lands_on_timestep_0_moves_pixels_by_one_grey_level_on_average() -> None:
    assert pixel_std(1.0) * math.sqrt(2 / math.pi) == pytest.approx(2 / 255)
    free, limited, doubled = (
        drawn(Ddpm(num_steps=2, covariance="ocm", clip_pixels=c)) for c in (None, 1.0, 2.0)
    )
    noise = normal(0, Purpose.SAMPLER_STEP, torch.arange(16), SHAPE, 0)
    # The step from 0 to x0 multiplies by the oracle's sqrt(alpha_bar) STD^2 / marginal;
    # nothing is clipped at 4 sigma.
    shrink = math.sqrt(TABLE[0]) * STD**2 / marginal(TABLE[0])
    assert torch.allclose(doubled - limited, shrink * pixel_std(1.0) * noise, rtol=0, atol=1e-14)
    assert float((free - limited).abs().mean()) > 10 * pixel_std(1.0)
    # A step that lands elsewhere is not the last one the eye sees: it keeps all of its noise.
    loose = (Ddpm(num_steps=2, tau="trailing", covariance="ocm", clip_pixels=c) for c in (None, 1.0))
    assert torch.equal(*(drawn(sampler) for sampler in loose))


def last_noise_std(sampler: ChainSampler) -> float:
    """Standard deviation of the noise that lands on timestep 0, seen in what it does to the image.

    The exact denoiser is linear and nothing is clipped:
    the last step multiplies by sqrt(alpha_bar) STD^2 / marginal.
    """
    calls = []

    def noise_of(scale: float) -> Tensor:
        def noise(step: int) -> Tensor:
            calls.append(step)
            return torch.full((1, 1), scale if step == sampler.evaluations - 2 else 0.0, dtype=torch.float64)

        return sampler.sample(Exact(), torch.zeros(1, 1, dtype=torch.float64), noise)

    shrink = math.sqrt(TABLE[0]) * STD**2 / marginal(TABLE[0])
    return float(noise_of(1.0) - noise_of(0.0)) / shrink


@pytest.mark.parametrize("pixels", [1.0, 2.0])
def test_analytic_dpms_baseline_beta_lands_on_timestep_0_with_as_little_noise(pixels: float) -> None:
    fields = {"num_steps": 10, "covariance": "beta", "clip_x0": False, "clip_pixels": pixels}
    free, limited = (
        Ddpm.model_validate(fields | {"clip_pixels_for": which})
        for which in ("known_covariance", "every_covariance")
    )
    # Ten linear steps visit 111 and then 0: beta = 1 - alpha_bar_111 / alpha_bar_0.
    assert last_noise_std(free) == pytest.approx(math.sqrt(1 - TABLE[111] / TABLE[0]), rel=1e-9)
    # sqrt(pi / 2) times the mean absolute value of the noise, which is so many grey levels of 2 / 255.
    assert last_noise_std(limited) == pytest.approx(pixels * 2 / 255 * math.sqrt(math.pi / 2), rel=1e-9)
    assert form(limited) != form(free)
    assert limited.canonical().form["clip_pixels"] == pixels


def test_a_limit_above_the_noise_does_nothing() -> None:
    # beta_tilde on timestep 0 is below 1 - alpha_bar_0 = 1e-4,
    # whose root is 1.02 times the limit of one grey level.
    assert 1 < math.sqrt(1 - TABLE[0]) / pixel_std(1.0) < 1.03
    for pixels, acts in ((1.0, True), (1.1, False)):
        every = Ddpm(num_steps=10, clip_pixels=pixels, clip_pixels_for="every_covariance")
        assert (form(every) != form(Ddpm(num_steps=10))) == acts
    still = Ddim(num_steps=10, clip_pixels_for="every_covariance")
    assert form(still) == form(Ddim(num_steps=10))
    assert any("clip_pixels acts" in reason for reason in still.canonical().reasons)


@pytest.mark.parametrize("covariance", ["learned_range", "analytic", "ocm"])
def test_a_covariance_needs_a_denoiser_that_tells_it(covariance: str) -> None:
    silent, other = (
        GaussianOracle(STD).denoise,
        Exact(fraction=None if covariance == "learned_range" else 0.0),
    )
    for denoise in (silent, other):
        with pytest.raises(ValueError, match=f"covariance {covariance} needs a denoiser whose posterior"):
            drawn(Ddpm(num_steps=3, covariance=covariance), denoise)


@pytest.mark.parametrize(
    "sampler",
    [Ddim(num_steps=5), Ddim(num_steps=5, eta=1), Ddpm(num_steps=5), Ddpm(num_steps=5, covariance="ocm")],
    ids=lambda sampler: sampler.label,
)
@pytest.mark.parametrize("tau", ["linear", "trailing"])
def test_zero_terminal_snr_starts_from_pure_noise_and_stays_finite(sampler: ChainSampler, tau: str) -> None:
    levels = []

    class Listening(Exact):
        def __call__(self, x: Tensor, sigma: float) -> Tensor:
            levels.append((sigma, float(x.std())))
            return super().__call__(x, sigma)

    settings = {"tau": tau, "zero_terminal_snr": True, "clip_pixels": None}
    x = drawn(sampler.model_copy(update=settings), Listening(), count=500)
    assert levels[0][0] == TERMINAL_SIGMA
    # x = x_t sqrt(1 + sigma^2), of unit x_t: five standard errors of a standard deviation.
    assert levels[0][1] / TERMINAL_SIGMA == pytest.approx(1, abs=5 / math.sqrt(2 * 500 * 16))
    assert torch.isfinite(x).all()
    assert x.abs().max() < 6 * STD  # beyond six standard deviations of the data lies nobody's variance


def test_the_three_ways_to_clip_are_three_samplers() -> None:
    def overshooting(x: Tensor, sigma: float) -> Tensor:
        return x / math.sqrt(1 + sigma**2) * (3.0 if sigma > 1 else 0.5)

    none, x0, both = (
        drawn(Ddim(num_steps=10, clip=clip), overshooting) for clip in ("none", "x0", "x0_and_eps")
    )
    for one, other in ((none, x0), (none, both), (x0, both)):
        assert float((one - other).abs().max()) > 0.1
    # Predictions that stay far inside [-1, 1] are never clipped.
    narrow = Exact(GaussianOracle(0.1))
    assert torch.equal(*(drawn(Ddim(num_steps=10, clip=clip), narrow) for clip in ("none", "x0")))


def test_clipping_x0_keeps_the_noise_or_follows_x() -> None:
    x, x0_hat, alpha_bar = torch.tensor([2.0]).double(), torch.tensor([3.0]).double(), 0.64
    # x = 0.8 x0 + 0.6 eps: x0_hat 3 leaves eps -2/3, its clipped value 1 leaves eps 2.
    expected = {"none": (3.0, -2 / 3), "x0": (1.0, -2 / 3), "x0_and_eps": (1.0, 2.0)}
    for clip, values in expected.items():
        assert [float(value) for value in clipped(clip, x0_hat, x, alpha_bar)] == pytest.approx(
            values, rel=1e-14
        )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Ddpm(num_steps=7, clip_x0=False), Ddim(num_steps=7, eta=1)),
        (Ddpm(num_steps=7), Ddim(num_steps=7, eta=1, clip="x0_and_eps")),
        (Ddpm(num_steps=7, covariance="beta", clip_x0=False), Ddim(num_steps=7, eta=1, noisy=True)),
        (Ddpm(num_steps=7, covariance="ocm"), Ddim(num_steps=7, eta=1, covariance="ocm", clip="x0_and_eps")),
        (Ddpm(num_steps=1, clip_x0=False, covariance="beta"), Ddim(num_steps=1, eta=0.3)),
        (Ddim(num_steps=1, covariance="ocm", clip="x0_and_eps"), Ddim(num_steps=1, clip="x0")),
        (Ddim(num_steps=7, clip_pixels=2.0), Ddim(num_steps=7)),
        (
            Ddpm(num_steps=7, tau="trailing", covariance="ocm", clip_pixels=2.0),
            Ddpm(num_steps=7, tau="trailing", covariance="ocm"),
        ),
        (Ddim(num_steps=2, tau="quadratic"), Ddim(num_steps=2, tau="even")),
    ],
    ids=lambda sampler: sampler.label,
)
def test_samplers_with_one_canonical_form_draw_the_same_images(
    one: ChainSampler, other: ChainSampler
) -> None:
    assert form(one) == form(other)
    assert one.canonical().reasons or other.canonical().reasons
    assert torch.equal(drawn(one), drawn(other))


@pytest.mark.parametrize(
    "changes",
    [
        {"clip_x0": False},
        {"tau": "trailing"},
        {"zero_terminal_snr": True},
        {"guidance": 2.0},
        {"schedule": "cosine"},
    ]
    + [{"covariance": covariance} for covariance in ("beta", "learned_range", "analytic", "ocm")]
    + [{"covariance": "ocm", "clip_pixels": 2.0}],
    ids=str,
)
def test_what_changes_the_images_changes_the_canonical_form(changes: dict[str, Any]) -> None:
    others = [{}, {"covariance": "ocm"}] if "clip_pixels" in changes else [{}]
    assert form(Ddpm(num_steps=7, **changes)) not in {form(Ddpm(num_steps=7, **other)) for other in others}


def test_the_form_of_plain_ddim_has_no_key_for_what_it_does_not_do() -> None:
    chain = {"method": "ddim", "schedule": "linear", "num_timesteps": 1000}
    assert Ddim(num_steps=3).canonical().form == {**chain, "timesteps": [0, 499, 999], "eta": 0.0}


def test_noisy_is_ddpm_and_nothing_else() -> None:
    for changes in ({}, {"eta": 0.5}, {"eta": 1, "covariance": "ocm"}):
        with pytest.raises(ValueError, match="noisy is DDPM with the larger variance beta: it needs eta 1"):
            Ddim(num_steps=7, noisy=True, **changes)


def test_a_covariance_makes_ddim_at_eta_0_stochastic() -> None:
    items = torch.arange(16)
    latents = normal(0, Purpose.LATENT, items, SHAPE)
    plain, random = Ddim(num_steps=5), Ddim(num_steps=5, covariance="analytic")
    asked: dict[str, list[int]] = {"plain": [], "random": []}
    for name, sampler in (("plain", plain), ("random", random)):
        sampler.sample(EXACT, latents, lambda step, name=name: asked[name].append(step) or latents)
    assert asked == {"plain": [], "random": [0, 1, 2, 3]}
