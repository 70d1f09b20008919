"""What a protocol may ask to be measured besides the images' quality, and how. Imports no torch."""

from pydantic import Field

from engine.data.base import Split
from engine.frozen import Frozen
from engine.process.decoder import DecoderName, NormalCdfName
from engine.samplers.base import SamplerBase


class Consistency(Frozen):
    """How far a sampler's images at few steps are those it
    makes of the same latents at many [P2 5.2; playbook 5.2]."""

    num_steps: int = Field(default=100, ge=2)
    """Steps of the sampler it is compared with, otherwise the same."""
    num_samples: int = Field(default=64, ge=3)
    """Images compared."""

    def many_steps(self, sampler: SamplerBase) -> SamplerBase | None:
        """The sampler that another one is held against; None unless neither of them draws noise."""
        if not sampler.deterministic:
            return None
        many = sampler.model_copy(update={"num_steps": self.num_steps})
        return many if many.deterministic else None  # DDPM's one step adds no noise, more of them do


class Likelihood(Frozen):
    """How likely images are under the model, in bits per dimension [playbook 5.5, 5.8].

    DDPM's cells get the variational bound of their own steps and covariance, deterministic ones the
    likelihood of the probability-flow ODE, which is the same for all of them. Guided samplers have none.
    """

    split: Split = "train"
    """Which images: a data set's test split, where it has one, or those it is trained on."""
    num_images: int = Field(default=1_000, ge=2)
    """The first images of the split."""
    ode_steps: int = Field(default=32, ge=4, multiple_of=2)
    """Steps of the ODE's solver (RK4); half as many, once more, say how far off it is."""
    decoder: DecoderName = "walk"
    """Variance of a bound's last step, one for all covariances: walk as in P1's code, that of each walk's
    own steps; chain as in P6's and Analytic-DPM's, beta_tilde of the chain's two least noisy timesteps."""
    normal: NormalCdfName = "exact"
    """The normal distribution function in a bound's cost of pixels: exact, or the tanh approximation
    of P1's and P6's code, which is off by half a bit where errors are 4 standard deviations."""


class LossGap(Frozen):
    """How far the training loss lies above its optimum on the same images and noise [arXiv 2506.13763].

    Of hybrid and vlb it is L_simple, the error of the noise, that is measured; a bound has another optimum.
    """

    num_levels: int = Field(default=16, ge=1)
    """Noise levels, evenly spread over those that training shows."""
    num_draws: int = Field(default=512, ge=2)
    """Noisy images at each of them."""
