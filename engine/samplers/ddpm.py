"""DDPM: ancestral sampling, with every choice of the reverse variance."""

from typing import Literal

from engine.process.covariance import CovarianceName
from engine.samplers.base import Canonical, Step
from engine.samplers.chain import ChainSampler, ClipName


class Ddpm(ChainSampler):
    """Ancestral sampling on a subsequence of the timesteps, betas respaced to match [P1 2.1, 4; playbook 2.7,
    3.6].

    The mean is the posterior's of x given x0_hat and x.
    """

    kind: Literal["ddpm"] = "ddpm"
    covariance: CovarianceName = "beta_tilde"
    """beta, beta_tilde: P1's fixed variances; learned_range: P1's; analytic: Bao et al. 2022; ocm: P6."""
    clip_x0: bool = True
    """Clip x0_hat to [-1, 1] before every step, as P1's, DiT's and P6's code do and P2's ddpm_noisy does."""

    @property
    def deterministic(self) -> bool:
        """Never: every step but the last adds noise."""
        return self.evaluations == 1

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        return f"DDPM {self.num_steps} {self.covariance}{'' if self.clip_x0 else ' unclipped'}{self.suffix}"

    def canonical(self) -> Canonical:
        """That of DDIM at eta = 1, whose mean is the same function of x0_hat and x."""
        walk = self.chain_form(1.0, self._clip, self.covariance)
        if walk.form.get("covariance") == "learned_range":
            return walk
        noisy, clip = (
            ", noisy" if self.covariance == "beta" else "",
            ", clip x0_and_eps" if self.clip_x0 else "",
        )
        reason = f"DDPM with variance {self.covariance} is DDIM with eta 1{noisy}{clip}"
        return Canonical(walk.form, (*walk.reasons, reason))

    def program(self) -> tuple[Step, ...]:
        """Steps from the noisiest timestep down; the last one lands on x0_hat."""
        return self.walk(eta=1.0, clip=self._clip, covariance=self.covariance)

    @property
    def _clip(self) -> ClipName:
        return "x0_and_eps" if self.clip_x0 else "none"
