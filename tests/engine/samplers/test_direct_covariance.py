"""P6's direct estimate of the covariance by random signs: what it is, what it costs, how it is keyed."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from engine.denoiser import Denoiser
from engine.evaluation.oracle import GaussianOracle
from engine.guidance import Guided
from engine.noise import Purpose, normal
from engine.posterior import Posterior
from engine.process.precond import Preconditioning
from engine.process.processes import DiscreteProcess
from engine.samplers.ddim import Ddim
from engine.samplers.ddpm import Ddpm
from engine.sampling.generate import generate_shared

CHAIN = DiscreteProcess()
STDS = torch.tensor([0.2, 0.4, 0.7, 1.0], dtype=torch.float64).sqrt()
COVARIANCE = STDS[:, None] * STDS * (0.3 + 0.7 * torch.eye(4, dtype=torch.float64))
"""Four pixels of different variances, 0.2 to 1, any two of which correlate by 0.3."""


class GaussianNet(nn.Module):
    """The exact noise prediction for N(0, COVARIANCE): E[eps | x] = sigma (COVARIANCE + sigma^2)^-1 x."""

    def __init__(self) -> None:
        super().__init__()
        self.anything = nn.Parameter(torch.zeros(()))

    def forward(
        self, x: Tensor, c_noise: Tensor, label: Tensor | None = None, augment: Tensor | None = None
    ) -> Tensor:
        sigma = torch.tensor(CHAIN.sigmas, dtype=torch.float64)[c_noise.round().long()]
        square = (sigma**2)[:, None, None]
        predictor = sigma[:, None, None] * torch.linalg.inv(COVARIANCE + square * torch.eye(4))
        # The network sees x_t = x / sqrt(1 + sigma^2).
        unscaled = x.double().flatten(1) * (1 + sigma**2).sqrt()[:, None]
        found = torch.einsum("bij,bj->bi", predictor, unscaled).reshape(x.shape)
        return found.float() + self.anything


def denoiser() -> Denoiser:
    return Denoiser(GaussianNet(), Preconditioning(CHAIN, "eps"))


def exact(sigma: float) -> Tensor:
    """Diagonal of (COVARIANCE^-1 + 1 / sigma^2)^-1."""
    precision = torch.linalg.inv(COVARIANCE) + torch.eye(4).double() / sigma**2
    return torch.linalg.inv(precision).diagonal()


@pytest.mark.parametrize("timestep", [100, 250, 600])
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_the_mean_over_all_signs_is_the_exact_diagonal(timestep: int, mode: type) -> None:
    with mode():
        signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=4)), dtype=torch.float64)
        signs = signs.reshape(16, 1, 2, 2)
        x = torch.linspace(-1, 1, 4, dtype=torch.float64).reshape(1, 1, 2, 2).expand(16, -1, -1, -1)
        sigma = CHAIN.sigmas[timestep]
        seer = denoiser()
        probed = seer.probe(x, sigma, signs)
        assert torch.equal(probed.x0_hat, seer(x, sigma))
    assert probed.x0_variance is not None
    single = probed.x0_variance.flatten(1)
    # eps_hat passes through fp32; sigma^2 times its derivative is of order 1.
    torch.testing.assert_close(single.mean(0), exact(sigma), rtol=0, atol=64 * 2.0**-24 * max(1.0, sigma**2))
    assert single.std(0).min() > 0.005  # a single draw is off: the test would see a wrong average


def noise(step: int) -> Tensor:
    return normal(0, Purpose.SAMPLER_STEP, torch.arange(6), (1, 2, 2), step)


class Known(GaussianOracle):
    """A denoiser that knows its exact variance."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        return self.denoise(x, sigma)


@pytest.mark.parametrize("probes", [1, 3])
@pytest.mark.parametrize(
    ("kind", "settings"), [(Ddpm, {}), (Ddim, {"eta": 0.0}), (Ddim, {"eta": 1.0, "clip": "x0"})]
)
def test_of_independent_pixels_any_probes_give_the_images_of_the_exact_covariance(
    kind: type[Ddpm | Ddim], settings: dict[str, object], probes: int
) -> None:
    latents = normal(0, Purpose.LATENT, torch.arange(6), (1, 2, 2))
    oracle = Known(0.5)
    direct = kind(num_steps=7, covariance="direct", probes=probes, **settings)
    head = kind(num_steps=7, covariance="ocm", **settings)
    images, wanted = (one.sample(oracle, latents, noise) for one in (direct, head))
    torch.testing.assert_close(images, wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("num_steps", [1, 2, 5])
@pytest.mark.parametrize("probes", [1, 4])
def test_a_run_makes_two_evaluations_a_probe_and_one_at_the_end(num_steps: int, probes: int) -> None:
    sampler = Ddpm(num_steps=num_steps, covariance="direct", probes=probes)
    seer, images = denoiser(), []
    counted = generate_shared(
        seer,
        [sampler],
        indices=torch.arange(3),
        shape=(1, 2, 2),
        seed=0,
        batch_size=3,
        emit=lambda number, chunk, found: images.append(found),
    )
    assert sampler.nfe == 2 * probes * (num_steps - 1) + 1
    assert sum(step.evaluations for step in sampler.program()) == sampler.nfe
    assert seer.nfe == sampler.nfe
    assert counted == 3 * sampler.nfe


def test_a_hundred_probes_cost_two_hundred_times_a_head() -> None:
    direct, head = (Ddpm(num_steps=10, covariance=name) for name in ("direct", "ocm"))
    assert (direct.nfe, head.nfe) == (2 * 100 * 9 + 1, 10)


def test_images_do_not_depend_on_how_they_are_split_and_what_runs_beside_them() -> None:
    direct = Ddpm(num_steps=4, covariance="direct", probes=2)
    beside = [direct, Ddpm(num_steps=4), Ddpm(num_steps=4, covariance="direct", probes=3)]

    def images(samplers: list[Ddpm], keys: list[Tensor]) -> Tensor:
        found: dict[int, Tensor] = {}

        def keep(number: int, chunk: Tensor, made: Tensor) -> None:
            if samplers[number] == direct:
                found.update(zip(chunk.tolist(), made, strict=True))

        for indices in keys:
            generate_shared(
                denoiser(), samplers, indices=indices, shape=(1, 2, 2), seed=0, batch_size=6, emit=keep
            )
        return torch.stack([found[key] for key in sorted(found)])

    alone = images([direct], [torch.arange(6)])
    assert torch.equal(images(beside, [torch.arange(2), torch.arange(2, 6)]), alone)


def test_more_probes_come_nearer_to_the_exact_variance() -> None:
    sigma = CHAIN.sigmas[300]
    x = torch.zeros(2_000, 1, 2, 2, dtype=torch.float64)
    signs = normal(1, Purpose.SAMPLER_STEP, torch.arange(2_000), (1, 2, 2)).sign()
    single = denoiser().probe(x, sigma, signs).x0_variance
    assert single is not None
    one, hundred = (
        (single.reshape(-1, count, 4).mean(1) - exact(sigma)).square().mean().sqrt() for count in (1, 100)
    )
    # 20 means of 100: their spread is known to 1 / sqrt(2 * 20 * 4) = 8 %, and this is four of it.
    assert float(one / hundred) == pytest.approx(math.sqrt(100), rel=0.32)


def test_probes_are_part_of_what_a_sampler_is_with_the_direct_covariance_alone() -> None:
    forms = [Ddpm(num_steps=5, covariance="direct", probes=probes).canonical().form for probes in (1, 2)]
    assert forms[0] != forms[1]
    plain = Ddpm(num_steps=5, probes=7).canonical()
    assert plain.form == Ddpm(num_steps=5).canonical().form
    assert "probes act with covariance direct" in plain.reasons


def test_a_guided_mixture_has_no_direct_covariance_and_no_bound_is_made_of_an_estimate() -> None:
    with pytest.raises(ValueError, match="differentiates one prediction"):
        Ddpm(num_steps=5, covariance="direct", guidance=2.0)
    with pytest.raises(ValueError, match="no gradient of its own"):
        Guided(denoiser(), torch.zeros(1).long(), 2.0).probe(
            torch.zeros(1, 1, 2, 2), 1.0, torch.ones(1, 1, 2, 2)
        )
    assert Ddpm(num_steps=5, covariance="direct").as_ddpm() is None
    assert Ddim(num_steps=5, eta=1, covariance="direct").as_ddpm() is None


def test_a_denoiser_without_gradients_is_refused() -> None:
    class Silent:
        def __call__(self, x: Tensor, sigma: float) -> Tensor:
            return x

        def posterior(self, x: Tensor, sigma: float) -> Posterior:
            return Posterior(x)

    with pytest.raises(ValueError, match="can be differentiated"):
        Ddpm(num_steps=3, covariance="direct").sample(Silent(), noise(0), noise)
