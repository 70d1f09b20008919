"""DDIM: few-step sampling on a variance-preserving schedule, deterministic at eta = 0."""

from typing import Literal

from pydantic import Field, model_validator

from engine.process.covariance import CovarianceName
from engine.samplers.base import Canonical, Step
from engine.samplers.chain import ChainSampler, ClipName


class Ddim(ChainSampler):
    """The generalised reverse process on a subsequence tau of the timesteps [P2 Eq. 12, 16; playbook 0.3,
    5.1, A.7]."""

    kind: Literal["ddim"] = "ddim"
    eta: float = Field(default=0.0, ge=0, le=1)
    """Stochasticity: 0 is deterministic, 1 is DDPM's posterior variance."""
    noisy: bool = False
    """DDPM with the larger variance beta: eta 1's mean with P2's sigma_hat [P2 Table 1]. Its code's
    ddpm_noisy is this with clip x0_and_eps."""
    covariance: Literal["none", "analytic", "ocm"] = "none"
    """What is known of Cov[x0 | x] becomes noise too, so that eta = 0 is not deterministic [Bao et al. 2022;
    P6]."""
    clip: ClipName = "none"
    """none as P2's code, x0 as P6's and Analytic-DPM's, x0_and_eps as P1's and ddpm_noisy: three samplers,
    one name."""

    @model_validator(mode="after")
    def _noisy_is_ddpm(self) -> "Ddim":
        if self.noisy and (self.eta != 1 or self.covariance != "none"):
            raise ValueError(
                "noisy is DDPM with the larger variance beta: it needs eta 1 and covariance none, not "
                f"eta {self.eta:g} and covariance {self.covariance}"
            )
        return self

    @property
    def deterministic(self) -> bool:
        """Whether no step adds noise."""
        return self.evaluations == 1 or (self.eta == 0 and self._added == "beta_tilde")

    @property
    def label(self) -> str:
        """Short name for tables and figures."""
        eta = f" eta {self.eta:g}" if self.eta else ""
        variance = " noisy" if self.noisy else "" if self.covariance == "none" else f" {self.covariance}"
        clip = "" if self.clip == "none" else f" clip {self.clip}"
        return f"DDIM {self.num_steps}{eta}{variance}{clip}{self.suffix}"

    def canonical(self) -> Canonical:
        """Schedule, the timesteps really visited, eta, and what else changes the images."""
        return self.chain_form(self.eta, self.clip, self._added)

    def program(self) -> tuple[Step, ...]:
        """Steps from the noisiest timestep down; the last one lands on x0_hat."""
        return self.walk(eta=self.eta, clip=self.clip, covariance=self._added)

    @property
    def _added(self) -> CovarianceName:
        if self.noisy:
            return "beta"
        return "beta_tilde" if self.covariance == "none" else self.covariance
