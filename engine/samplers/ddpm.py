"""DDPM: ancestral sampling, with every choice of the reverse variance.

The loop, in the symbols of P1 (Eq. 10, 11, 13, 15, and 19 for a subsequence S_1 < ... < S_K of the timesteps,
with alpha_bar_{S_0} = 1):

    x_{S_K} ~ N(0, I)
    for t in K .. 1, ab = alpha_bar_{S_t}, ab' = alpha_bar_{S_{t-1}}:
        beta   = 1 - ab / ab'                                       # Eq. 19
        beta~  = (1 - ab') / (1 - ab) beta                          # Eq. 10
        x0_hat = (x - sqrt(1 - ab) eps_theta(x)) / sqrt(ab), clipped to [-1, 1]
        mu     = sqrt(ab') beta / (1 - ab) x0_hat                   # Eq. 11
                 + sqrt(1 - beta) (1 - ab') / (1 - ab) x
        Sigma  = beta, beta~, or exp(v log beta + (1 - v) log beta~)    # Eq. 15
        x      = mu + sqrt(Sigma) z,   z ~ N(0, I) if t > 1 else 0
"""

from typing import Literal

from engine.process.covariance import CovarianceName
from engine.samplers.base import Canonical
from engine.samplers.chain import ChainSampler
from engine.samplers.chain_step import ClipName
from engine.samplers.steps import Step


class Ddpm(ChainSampler):
    """Ancestral sampling on a subsequence of the timesteps,
    betas respaced to match [P1 2.1, 4; playbook 2.7, 3.6].

    The mean is the posterior's of x given x0_hat and x.
    """

    kind: Literal["ddpm"] = "ddpm"
    covariance: CovarianceName = "beta_tilde"
    """beta, beta_tilde: P1's fixed variances; learned_range: P1's; analytic: Bao et al. 2022; ocm: P6; npr,
    sn: Extended-Analytic-DPM; direct: P6's estimate by random signs, at 2 `probes` evaluations a step."""
    clip_x0: bool = True
    """Clip x0_hat to [-1, 1] before every step, as P1's and P6's code do and P2's ddpm_noisy does.
    DiT's and DyDiT's scripts sample latents without."""

    @property
    def deterministic(self) -> bool:
        """Whether the only step is the one that lands on x0_hat: every other adds noise."""
        return len(self.timesteps) == 1

    @property
    def family(self) -> str:
        """The solver's name in figures, with the variance where it is not P1's smaller fixed one."""
        if self.deterministic or self.covariance == "beta_tilde":
            return "DDPM"
        return f"DDPM {self.covariance.replace('_', ' ')}"

    @property
    def reverse_variance(self) -> CovarianceName:
        """As configured."""
        return self.covariance

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        return f"DDPM {self.num_steps} {self.covariance}{'' if self.clip_x0 else ' unclipped'}{self.suffix}"

    def canonical(self) -> Canonical:
        """That of DDIM at eta = 1, whose mean is the same function of x0_hat and x."""
        walk = self.chain_form(1.0, self._clip, self.covariance)
        if walk.form.get("covariance") == "learned_range":
            return walk
        noisy = ", noisy" if self.covariance == "beta" else ""
        clip = ", clip x0_and_eps" if self.clip_x0 else ""
        reason = f"DDPM with variance {self.covariance} is DDIM with eta 1{noisy}{clip}"
        return Canonical(walk.form, (*walk.reasons, reason))

    def as_ddpm(self) -> "Ddpm | None":
        """Itself, unless its only step adds no noise, or its variance is a random estimate at each image."""
        return None if self.deterministic or self.covariance == "direct" else self

    def program(self) -> tuple[Step, ...]:
        """Steps from the noisiest timestep down; the last one lands on x0_hat."""
        return self.walk(eta=1.0, clip=self._clip, covariance=self.covariance)

    @property
    def _clip(self) -> ClipName:
        return "x0_and_eps" if self.clip_x0 else "none"
