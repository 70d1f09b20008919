"""The variational bound on the likelihood of 8-bit images
under DDPM's reverse chain [P1 Eq. 4-7; playbook 5.5, 5.8].

-log2 p(x0) <= L_T + sum_t L_t + L_0, in bits per dimension. L_T is what the noisiest state still knows of
x0, L_t the divergence of one reverse step from the true posterior given x0, L_0 the cost of the pixels. On
a subsequence of the timesteps the steps are longer and so is the bound: that is P6's few-step likelihood.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from engine.data.datasets import to_unit
from engine.metrics.per_image import bits_per_dim, measure_images, standard_error
from engine.noise import Purpose, normal
from engine.objectives.losses.likelihood import discretised_nll, gaussian_kl
from engine.posterior import Posterior
from engine.process.covariance import ReverseStep, learned_range, reverse_betas
from engine.process.decoder import DecoderName, NormalCdfName
from engine.process.schedules import alpha_bars, sigma_of
from engine.records.bound import BoundRecord, BoundStep
from engine.samplers.chain_step import NEEDED, require_variance
from engine.samplers.ddpm import Ddpm
from engine.samplers.steps import DenoiseFn, DenoiseRequest, NoiseFn, answer_request


@dataclass(frozen=True, eq=False)
class Bound:
    """The bound and its terms, bits per dimension; each number is a mean over images."""

    timesteps: tuple[int, ...]
    """The timesteps visited, noisiest first."""
    terms: Tensor
    """[N, 1 + len(timesteps)], float64: of each image the
    prior's term, every step's, and last the decoder's."""

    @property
    def prior(self) -> float:
        """L_T: KL of the noisiest state given x0 from N(0, I)."""
        return float(self.terms[:, 0].mean())

    @property
    def kl(self) -> dict[int, float]:
        """L_t of every step but the last, by the timestep it leaves, noisiest first."""
        return dict(zip(self.timesteps, self.terms[:, 1:-1].mean(0).tolist(), strict=False))

    @property
    def decoder(self) -> float:
        """L_0: cost of the 8-bit pixels given the state at the last timestep."""
        return float(self.terms[:, -1].mean())

    @property
    def values(self) -> Tensor:
        """The whole bound of each image [N]."""
        return self.terms.sum(1)

    @property
    def total(self) -> float:
        """The whole bound."""
        return float(self.values.mean())

    @property
    def stderr(self) -> float | None:
        """Standard error of the total over images and the noise they met; None for a single image."""
        return standard_error(self.values)

    def record(self) -> BoundRecord:
        """The means, as they are kept."""
        return BoundRecord(
            total=self.total,
            stderr=self.stderr,
            prior=self.prior,
            decoder=self.decoder,
            steps=tuple(BoundStep(timestep=timestep, kl=bits) for timestep, bits in self.kl.items()),
            num_images=len(self.terms),
        )


@torch.inference_mode()
def variational_bound(
    denoiser: DenoiseFn,
    sampler: Ddpm,
    images: Tensor,
    labels: Tensor | None,
    *,
    seed: int,
    batch_size: int,
    decoder: DecoderName = "walk",
    normal_cdf: NormalCdfName = "exact",
) -> Bound:
    """The bound of images uint8 [N, C, H, W] with `labels`
    int64 [N] or None, under a Denoiser and a DDPM sampler.

    The sampler says which timesteps are visited, how x0_hat is clipped and what covariance the steps have, so
    the bound is that of the chain it walks. Only its clip_pixels is left out, a limit made for the eye that
    P6's likelihoods do without. `decoder` and `normal_cdf` are the conventions of the last term
    [engine.process.decoder]. One evaluation per image and visited timestep, two with guidance. Image i
    meets the same x_t at timestep t whatever subsequence visits it. Other denoisers that samplers take will
    do too, without labels.

    Raises ValueError for a sampler of a single timestep, for a covariance that the denoiser does not tell,
    and as `measure_images` does.
    """
    if sampler.evaluations == 1:
        raise ValueError(
            "the bound needs at least two timesteps: the second says the variance of the last step"
        )

    def measure(denoise: DenoiseFn, batch: Tensor, keys: Tensor) -> Tensor:
        x0 = to_unit(batch).double()
        return chain_terms(
            denoise,
            sampler,
            x0,
            lambda timestep: normal(seed, Purpose.BOUND, keys, tuple(x0.shape[1:]), timestep),
            decoder,
            normal_cdf,
        )

    terms = measure_images(measure, denoiser, images, labels, batch_size=batch_size, guiding=sampler.guiding)
    return Bound(sampler.timesteps[::-1], terms)


def chain_terms(
    denoise: DenoiseFn,
    sampler: Ddpm,
    x0: Tensor,
    noise: NoiseFn,
    decoder: DecoderName = "walk",
    normal_cdf: NormalCdfName = "exact",
) -> Tensor:
    """Terms [B, 1 + timesteps] of images x0 [B, ...] in [-1, 1], float64;
    `noise` gives eps for a timestep."""
    terms = [prior_kl(x0, sampler.alpha_bars[0])]
    for timestep, (alpha_bar, alpha_bar_next) in zip(
        sampler.timesteps[::-1], pairwise(sampler.alpha_bars), strict=True
    ):
        sigma = sigma_of(alpha_bar)
        asked = DenoiseRequest(
            x0 + sigma * noise(timestep), sigma, with_variance=sampler.covariance in NEEDED
        )
        posterior = answer_request(asked, denoise)
        require_variance(posterior, sampler.covariance)
        x0_hat = posterior.x0_hat.clamp(-1, 1) if sampler.clip_x0 else posterior.x0_hat
        if alpha_bar_next < 1:
            terms.append(step_kl(sampler, ReverseStep(alpha_bar, alpha_bar_next), posterior, x0_hat - x0))
        else:
            log_variance = _like(decoder_variance(sampler, posterior, decoder), x0).log()
            terms.append(discretised_nll(x0, x0_hat, log_variance, normal_cdf))
    return torch.stack([bits_per_dim(nats) for nats in terms], dim=1)


def prior_kl(x0: Tensor, alpha_bar: float) -> Tensor:
    """KL(N(sqrt(alpha_bar) x0, 1 - alpha_bar) || N(0, 1)) of every pixel, in nats [P1 Eq. 7]."""
    zero = x0.new_zeros(())
    return gaussian_kl(math.sqrt(alpha_bar) * x0, x0.new_tensor(math.log1p(-alpha_bar)), zero, zero)


def step_kl(sampler: Ddpm, step: ReverseStep, posterior: Posterior, x0_error: Tensor) -> Tensor:
    """KL(q(x_s | x_t, x0) || p(x_s | x_t)) of every pixel, in nats, for x0_error = x0_hat - x0 [P1 Eq. 6].

    q's variance is beta_tilde of the step from t to s however far off, p's is the sampler's covariance. Both
    means are the same function of x_t and of x0 or x0_hat, so they differ by x0_weight x0_error.
    """
    log_q = x0_error.new_tensor(step.std).log() * 2
    log_p = _like(step.noise_std(sampler.covariance, posterior), x0_error).log() * 2
    return gaussian_kl(step.x0_weight * x0_error, log_q, x0_error.new_zeros(()), log_p)


def decoder_variance(sampler: Ddpm, posterior: Posterior, decoder: DecoderName = "walk") -> float | Tensor:
    """Variance of the step to x0, whose own beta_tilde is 0 [engine.process.decoder].

    Of the chain's two least noisy timesteps only a walk that ends at timestep 0 has the last one;
    on any other that variance means nothing, and the walk's own is taken under either convention.
    """
    *_, before, last, _ = sampler.alpha_bars
    if decoder == "chain" and sampler.timesteps[0] == 0:
        second = alpha_bars(sampler.schedule, sampler.num_timesteps, sampler.zero_terminal_snr)[1]
        return reverse_betas(second, last)[1]
    beta_tilde = reverse_betas(before, last)[1]
    if sampler.covariance != "learned_range":
        return beta_tilde
    assert posterior.range_fraction is not None
    return learned_range(posterior.range_fraction, reverse_betas(last, 1.0)[0], beta_tilde)


def _like(value: float | Tensor, like: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)
